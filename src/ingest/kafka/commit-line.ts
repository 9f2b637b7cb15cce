import type { CommitResult } from '../../store/batch.ts';
import { Fenced } from './destination.ts';

/** Commits on their way at once. The disk is slow to answer, and quick to write many. */
const AHEAD_MAX = 4;

interface CommitListener {
  /** A commit is durable. */
  stored(): void;
  /** Called once, with what the first failed commit met, or with Fenced. */
  failed(reason: unknown): void;
}

/**
 * Commits of one partition, in order, several on their way while the next records are fetched and
 * prepared. Each expects the offset that the one before it leaves, so when one fails those behind
 * it are fenced: nothing is ever stored past a gap. A line that failed is of no more use.
 */
export class CommitLine {
  private listener: CommitListener;
  /** The answers to come, the oldest first. They do not reject. */
  private answers: Promise<void>[] = [];
  private hasFailed = false;

  constructor(listener: CommitListener) {
    this.listener = listener;
  }

  get isBroken(): boolean {
    return this.hasFailed;
  }

  get isIdle(): boolean {
    return this.answers.length === 0;
  }

  /** Resolves when there is room for another. `acknowledge` is called when the commit is durable. */
  async add(
    result: Promise<CommitResult>,
    acknowledge: (result: CommitResult) => void,
  ): Promise<void> {
    // It is looked at in its turn; until then its failure is nobody's.
    result.catch(() => {});
    const answer = this.answerTo(result, acknowledge, this.answers.at(-1));
    this.answers.push(answer);
    if (this.answers.length >= AHEAD_MAX) await this.answers[0];
  }

  /** Resolves when every commit has been answered, whatever the answers were. */
  async settle(): Promise<void> {
    await this.answers.at(-1);
  }

  private async answerTo(
    result: Promise<CommitResult>,
    acknowledge: (result: CommitResult) => void,
    before: Promise<void> | undefined,
  ): Promise<void> {
    await before;
    try {
      const answer = await result;
      if (answer.fenced) throw new Fenced('the stored offset has moved');
      if (this.hasFailed) return;
      acknowledge(answer);
      this.listener.stored();
    } catch (reason) {
      if (this.hasFailed) return;
      this.hasFailed = true;
      this.listener.failed(reason);
    } finally {
      void this.answers.shift();
    }
  }
}
