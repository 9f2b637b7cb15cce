import type { ChildProcess } from 'node:child_process';

import type { MetricObjectWithValues, MetricValue } from 'prom-client';

import type { Config } from '../config.ts';
import type { ErrorCode } from '../ground/errors.ts';

/** What a registry of prom-client holds, for another process. */
export type Scraped = MetricObjectWithValues<MetricValue<string>>[];

/** What the processes of a server say and ask of each other. */
interface Words {
  /** To a process that was started: what it is to be. */
  start: { config: Config; socket: string; worker: number };
  /** To a worker, when the port is known. */
  listen: { port: number };
  /** From one that cannot be that. */
  failed: { code: ErrorCode; message: string };
  /** It answers requests; a worker says where. */
  serving: { url: string };
  /** To finish what is under way, and end. */
  stop: undefined;
  /** The writer asks whether all others have let go of the files. */
  opening: undefined;
  /** The writer has opened them; to workers: to open them too, at this snapshot. */
  open: { snapshot: number };
  /** Workers are asked to let go of the files. */
  close: undefined;
  /** All up to there is durable. */
  snapshot: { snapshot: number };
  /** A worker asks that all workers have taken in what the writer has done so far. */
  settle: undefined;
  /** The writer is asked for a snapshot that has in it what it has done so far. */
  done: undefined;
  /** Workers are asked to have come there. */
  reach: { snapshot: number };
  /** A worker asks for the metrics of all processes, each process for its own. */
  scrapeAll: undefined;
  scrape: undefined;
}

/** What a question is answered with. */
interface Answers extends Record<keyof Words, unknown> {
  opening: boolean;
  close: boolean;
  settle: boolean;
  done: number;
  reach: boolean;
  scrapeAll: Scraped[];
  scrape: Scraped;
}

type Word = keyof Words;
type Handler<W extends Word> = (value: Words[W]) => Answers[W] | Promise<Answers[W]> | void;

/** As it is sent. */
type Message =
  | { word: Word; value: unknown; asks: number | undefined }
  | { answers: number; value: unknown };

/** Between a supervisor and a process of its: messages in order, and questions with an answer each. */
export class Line {
  private end: ChildProcess | NodeJS.Process;
  private handlers = new Map<Word, (value: never) => unknown>();
  private asked = new Map<number, (value: unknown) => void>();
  private questions = 0;
  private failed: (error: unknown) => void;

  /** `failed`: hears when what was said could not be done. */
  constructor(end: ChildProcess | NodeJS.Process, failed: (error: unknown) => void) {
    this.end = end;
    this.failed = failed;
    (end as ChildProcess).on('message', (message) => this.receive(message as Message));
    (end as ChildProcess).on('disconnect', () => {
      for (const resolve of this.asked.values()) resolve(undefined);
    });
  }

  /** What it does when the word is said; a promise that it gives is waited for with the answer. */
  on<W extends Word>(word: W, handler: Handler<W>): void {
    this.handlers.set(word, handler);
  }

  tell<W extends Word>(word: W, value: Words[W]): void {
    this.send({ word, value, asks: undefined });
  }

  /** The answer; undefined where there is none in time, or nobody at the other end. */
  async ask<W extends Word>(word: W, value: Words[W], ms: number): Promise<Answers[W] | undefined> {
    const asks = this.questions++;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const timer = setTimeout(() => resolve(undefined), ms);
    this.asked.set(asks, resolve);
    if (this.end.connected) this.send({ word, value, asks });
    else resolve(undefined);
    const answer = await promise;
    clearTimeout(timer);
    this.asked.delete(asks);
    return answer as Answers[W] | undefined;
  }

  private receive(message: Message): void {
    if ('answers' in message) {
      this.asked.get(message.answers)?.(message.value);
      return;
    }
    const { word, value, asks } = message;
    void this.handle(word, value, asks);
  }

  /** What the handler does before it waits for anything is done in this turn. */
  private async handle(word: Word, value: unknown, asks: number | undefined): Promise<void> {
    try {
      const answer = await this.handlers.get(word)?.(value as never);
      if (asks !== undefined) this.send({ answers: asks, value: answer });
    } catch (error) {
      this.failed(error);
    }
  }

  /** What nobody can hear any more is not said. */
  private send(message: Message): void {
    if (this.end.connected) this.end.send?.(message, undefined, undefined, () => {});
  }
}
