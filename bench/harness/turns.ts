/**
 * Lets all take turns, A B A B, after a round that warms up: what else the machine does meets all of
 * them.
 */
export async function takeTurns<Contender>(
  contenders: readonly Contender[],
  rounds: number,
  turn: (contender: Contender, isWarmUp: boolean) => Promise<void>,
): Promise<void> {
  for (let round = 0; round <= rounds; round++) {
    for (const contender of contenders) await turn(contender, round === 0);
  }
}
