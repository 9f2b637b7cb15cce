import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fastify from 'fastify';
import { type Logger, pino } from 'pino';
import { Counter, Registry } from 'prom-client';

import { listen } from '../api/listen.ts';
import type { Config } from '../config.ts';
import { TidemarkError } from '../ground/errors.ts';
import type { Tidemark } from '../main.ts';
import { KeptProcess } from './kept-process.ts';
import type { Line, Scraped } from './line.ts';

/** Workers that have not let go of the files by then are ended. */
const CLOSE_MS = 5_000;
/** Those that are slower are not waited for. */
const SETTLE_MS = 2_000;
const SCRAPE_MS = 1_000;
/** What is under way at the writer for workers that stop has so long before it stops too. */
const WRITER_STOPS_AFTER_MS = 2_000;
/** More than a process takes that ends as it should. */
const STOP_MS = 15_000;
/** What systems take as the name of a socket. */
const SOCKET_BYTES_MAX = 103;

/**
 * A server of several processes on one port: workers that answer lookups from the files, and one
 * writer behind them, which has all the rest. This process starts them, starts them again, and passes
 * on what they say to each other; it opens no store.
 * Throws what `startTidemark` does.
 */
export async function startProcesses(config: Config): Promise<Tidemark> {
  const log = pino({ level: config.log_level, base: null });
  const supervisor = new Supervisor(config, log);
  try {
    const url = await supervisor.start();
    log.info({ url, data: config.data, workers: config.serving.workers }, 'serving');
    const stop = async (): Promise<void> => {
      await supervisor.stop();
      log.info('stopped');
    };
    return { url, stop };
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
}

class Supervisor {
  private config: Config;
  /** With the writer's socket: nobody else of this machine may send to it. */
  private folder = mkdtempSync(join(tmpdir(), 'tidemark-'));
  private socket = join(this.folder, 'writer.sock');
  private port: number;
  private writer: KeptProcess;
  private workers: KeptProcess[];
  /** The last snapshot that a writer named; undefined before the first. */
  private snapshot: number | undefined;
  /** Workers may have the files open. */
  private isOpen = false;
  /** To workers that were told to open them. */
  private readers = new WeakSet<Line>();
  private registry = new Registry();

  constructor(config: Config, log: Logger) {
    this.config = config;
    this.port = config.port;
    this.writer = new KeptProcess({
      program: 'writer',
      name: 'writer',
      log,
      begin: (line) => this.beginWriter(line),
      ended: () => this.writerEnded(),
    });
    this.workers = Array.from(
      { length: config.serving.workers },
      (_, at) =>
        new KeptProcess({
          program: 'worker',
          name: `worker-${at + 1}`,
          log,
          begin: (line) => this.beginWorker(line, at + 1),
          ended: () => {},
        }),
    );
    this.addMetrics();
  }

  async start(): Promise<string> {
    const { host, port } = this.config;
    refuseLong(this.socket);
    await refuseTaken(host, port);
    const [first, ...others] = this.workers.map(async (worker) => worker.start());
    const all = Promise.all([this.writer.start(), first, ...others]);
    const url = await Promise.race([first!, all.then(() => first!)]);
    // Where any port was asked for, it is the one that the first of them was given.
    if (port === 0) this.share(Number(new URL(url).port));
    await all;
    return url;
  }

  async stop(): Promise<void> {
    const { limits } = this.config;
    const drainMs = limits.drain_seconds * 1_000;
    const ms = drainMs + limits.stop_seconds * 1_000 + STOP_MS;
    const workers = Promise.all(this.workers.map(async (worker) => worker.stop(ms)));
    // What goes on until the server stops, as a feed of changes, ends with the writer.
    const timer = Promise.withResolvers<void>();
    const waiting = setTimeout(timer.resolve, drainMs + WRITER_STOPS_AFTER_MS);
    await Promise.race([workers, timer.promise]);
    clearTimeout(waiting);
    await Promise.all([workers, this.writer.stop(ms)]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** All that wait to be told listen there. */
  private share(port: number): void {
    this.port = port;
    for (const { line } of this.workers.slice(1)) line?.tell('listen', { port });
  }

  private beginWriter(line: Line): void {
    const { config, socket } = this;
    line.on('opening', async () => this.letGo());
    line.on('open', ({ snapshot }) => this.open(snapshot));
    line.on('snapshot', ({ snapshot }) => {
      this.snapshot = snapshot;
      for (const worker of this.workers) worker.line?.tell('snapshot', { snapshot });
    });
    line.tell('start', { config, socket, worker: 0 });
  }

  private beginWorker(line: Line, worker: number): void {
    const { config, socket, port } = this;
    line.on('settle', async () => this.settle());
    line.on('scrapeAll', async () => this.scrape());
    line.tell('start', { config, socket, worker });
    if (port !== 0 || worker === 1) line.tell('listen', { port });
    if (this.isOpen) this.tellOpen(line);
  }

  private open(snapshot: number): void {
    this.snapshot = snapshot;
    this.isOpen = true;
    for (const { line } of this.workers) if (line !== undefined) this.tellOpen(line);
  }

  private tellOpen(line: Line): void {
    this.readers.add(line);
    line.tell('open', { snapshot: this.snapshot! });
  }

  /**
   * Resolves when no worker has a file open. A writer that opens them while others have them open
   * goes on from the last commit, be it on the disk or not; alone, from the last flush.
   */
  private async letGo(): Promise<boolean> {
    this.isOpen = false;
    await Promise.all(
      this.workers.map(async (worker) => {
        const { line } = worker;
        // Whatever comes of this writer meanwhile: those that are told to open again are readers anew.
        if (line === undefined || !this.readers.delete(line)) return;
        const isClosed = await line.ask('close', undefined, CLOSE_MS);
        if (isClosed === undefined && worker.line === line) await worker.kill();
      }),
    );
    return true;
  }

  private writerEnded(): void {
    // The next one could not listen where the last one did not clear up.
    rmSync(this.socket, { force: true });
    // One that ended before it had the files open leaves them as they are to be read.
    if (!this.isOpen && this.snapshot !== undefined) this.open(this.snapshot);
  }

  private async settle(): Promise<boolean> {
    const snapshot = await this.writer.line?.ask('done', undefined, SETTLE_MS);
    if (snapshot === undefined) return false;
    const { workers } = this;
    await Promise.all(workers.map(async ({ line }) => line?.ask('reach', { snapshot }, SETTLE_MS)));
    return true;
  }

  private async scrape(): Promise<Scraped[]> {
    const all = [this.writer, ...this.workers];
    const scraped = await Promise.all(
      all.map(async ({ line }) => line?.ask('scrape', undefined, SCRAPE_MS)),
    );
    const own = (await this.registry.getMetricsAsJSON()) as Scraped;
    return [own, ...scraped.filter((each) => each !== undefined)];
  }

  private addMetrics(): void {
    const all = [this.writer, ...this.workers];
    void new Counter({
      name: 'tidemark_process_restarts_total',
      help: 'Processes of the server that ended and were started again.',
      labelNames: ['process'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { name, restarts } of all) this.inc({ process: name }, restarts);
      },
    });
  }
}

/** Throws BAD_CONFIG where no writer could listen. */
function refuseLong(socket: string): void {
  if (Buffer.byteLength(socket) <= SOCKET_BYTES_MAX) return;
  throw new TidemarkError(
    'BAD_CONFIG',
    `the writer's socket would be ${socket}, expected at most ${SOCKET_BYTES_MAX} bytes: set TMPDIR ` +
      'to a folder with a shorter path',
  );
}

/**
 * Throws BAD_CONFIG where another program listens. Workers would share the port with it: they say
 * that it may be shared, and so would another Tidemark's.
 */
async function refuseTaken(host: string, port: number): Promise<void> {
  const trial = fastify();
  await listen(trial, host, port);
  await trial.close();
}
