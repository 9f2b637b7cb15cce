/**
 * Turns of entities: who has read what an entity was, and is about to store what it is from then on,
 * has it alone until that is stored. All of a batch's turns are asked for at once, so that no two
 * batches wait for one another.
 */
export class Turns {
  /** By entity: resolves when the last who asked for it is done. */
  private last = new Map<string, Promise<void>>();

  /** Resolves when it is these entities' turn, with what ends it. */
  async take(entityIds: Iterable<string>): Promise<() => void> {
    const ids = new Set(entityIds);
    const { promise, resolve } = Promise.withResolvers<void>();
    const before: Promise<void>[] = [];
    for (const id of ids) {
      const last = this.last.get(id);
      if (last !== undefined) before.push(last);
      this.last.set(id, promise);
    }
    await Promise.all(before);
    return () => {
      resolve();
      for (const id of ids) if (this.last.get(id) === promise) this.last.delete(id);
    };
  }
}
