import { type ChildProcess, fork } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Logger } from 'pino';

import { TidemarkError } from '../ground/errors.ts';
import { withHugePages } from './huge-pages.ts';
import { Line } from './line.ts';

/** One that has served so long was no failure. */
const SOUND_MS = 1_000;
const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;

interface Settings {
  /** What it runs, in this folder, and how it is called in the log and in metrics. */
  program: 'writer' | 'worker';
  name: string;
  log: Logger;
  /** Called when one has been started, to be told what to be. */
  begin: (line: Line) => void;
  /** One has ended, and may be followed by another. */
  ended: () => void;
}

/** A process that is started again whenever it ends; after failures, later each time. */
export class KeptProcess {
  readonly name: string;
  restarts = 0;
  private settings: Settings;
  private child: ChildProcess | undefined;
  private current: Line | undefined;
  private failures = 0;
  private isStopping = false;
  private waiting: NodeJS.Timeout | undefined;
  private first = Promise.withResolvers<string>();
  private hasServed = false;

  constructor(settings: Settings) {
    this.settings = settings;
    this.name = settings.name;
  }

  /** To the process that there is now. */
  get line(): Line | undefined {
    return this.current;
  }

  /** Where it answers. Rejects with what keeps the first one from serving; it is not tried again. */
  async start(): Promise<string> {
    this.spawn();
    return this.first.promise;
  }

  /** Resolves when it has ended; it is given so long, ms. */
  async stop(ms: number): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.waiting);
    const { child } = this;
    if (child === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    this.current?.tell('stop', undefined);
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    await promise;
    clearTimeout(timer);
  }

  /** Ends it on the spot; another one comes. Resolves when it has ended. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
    await promise;
  }

  private spawn(): void {
    const { program, name, log, begin } = this.settings;
    const file = new URL(`./${program}${extname(import.meta.url)}`, import.meta.url);
    const child = fork(fileURLToPath(file), [], {
      // Standard input is the supervisor's alone.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: program === 'worker' ? withHugePages(process.env) : process.env,
    });
    let servesSince: number | undefined;
    let failure: TidemarkError | undefined;
    const line = new Line(child, (error) => log.error({ err: error, process: name }, 'a process'));
    this.child = child;
    this.current = line;
    line.on('failed', ({ code, message }) => {
      failure = new TidemarkError(code, message);
      log.error({ process: name, code }, message);
    });
    line.on('serving', ({ url }) => {
      servesSince = performance.now();
      this.hasServed = true;
      this.first.resolve(url);
    });
    const ended = (why: string): void => {
      if (this.child !== child) return;
      this.child = undefined;
      this.current = undefined;
      this.settings.ended();
      if (this.isStopping) return;
      if (!this.hasServed) {
        this.first.reject(failure ?? new TidemarkError('INTERNAL', `the ${name} ${why}`));
        return;
      }
      const isSound = servesSince !== undefined && performance.now() - servesSince >= SOUND_MS;
      this.failures = isSound ? 0 : this.failures + 1;
      // One that came to serve was not lost on the way: it is not kept away for long.
      const most = servesSince === undefined ? BACKOFF_MAX_MS : SOUND_MS;
      const delay = isSound ? 0 : Math.min(most, BACKOFF_FIRST_MS * 2 ** this.failures);
      log.warn({ process: name, delay_ms: delay }, `the ${name} ${why}: it is started again`);
      this.restarts++;
      this.waiting = setTimeout(() => this.spawn(), delay);
    };
    child.on('error', (error) => ended(`cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => ended(`ended with ${signal ?? code}`));
    begin(line);
  }
}
