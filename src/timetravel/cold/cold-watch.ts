/** So much between two looks is more than an accident: pages, and blocks of 512 bytes. */
const FAULTS_MIN = 8;
const BLOCKS_MIN = 64;
/** For so long after the disk was last read, data are taken to be colder than memory, µs. */
const COLD_MICROS = 20e6;
/** How often it looks, ms. */
const LOOK_MS = 100;

/** What the process has read from the disk since it began, as `process.resourceUsage` counts it. */
export interface DiskReads {
  /** Pages that a thread touched and had to wait for; blocks of a file need not be among them. */
  majorPageFault: number;
  fsRead: number;
}

/**
 * Tells whether lookups are likely to touch pages that are not in memory, and to wait for the disk
 * with everything else waiting behind them: at the start, and for a while after the disk was read. It
 * looks from time to time, so that a lookup of warm data asks a boolean.
 */
export class ColdWatch {
  private read: () => DiskReads;
  private passed: () => number;
  private before: DiskReads;
  private coldUntil: number;
  private cold = true;
  private timer: NodeJS.Timeout | undefined;

  /** `passed`: µs, from any moment. */
  constructor(read: () => DiskReads, passed: () => number) {
    this.read = read;
    this.passed = passed;
    this.before = read();
    this.coldUntil = passed() + COLD_MICROS;
  }

  get isCold(): boolean {
    return this.cold;
  }

  start(): void {
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  look(): void {
    const { before } = this;
    const now = this.read();
    const faults = now.majorPageFault - before.majorPageFault;
    const blocks = now.fsRead - before.fsRead;
    if (faults >= FAULTS_MIN || blocks >= BLOCKS_MIN) this.coldUntil = this.passed() + COLD_MICROS;
    this.cold = this.passed() < this.coldUntil;
    this.before = now;
  }
}
