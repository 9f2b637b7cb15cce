/** What memory is counted in: 32 bits of it are more than there is. */
const UNIT_BYTES = 64;

/** How much memory what is resident may take, bytes; all versions of a store share it. */
export class ResidentBudget {
  readonly bytesMax: number;
  /** For the threads that are to share it. */
  readonly shared: SharedArrayBuffer;
  private units: Int32Array;

  constructor(bytesMax: number, shared = new SharedArrayBuffer(4)) {
    this.bytesMax = bytesMax;
    this.shared = shared;
    this.units = new Int32Array(shared);
  }

  get used(): number {
    return Atomics.load(this.units, 0) * UNIT_BYTES;
  }

  /** Takes so much of it; false, with nothing taken, where so much is not left. */
  take(bytes: number): boolean {
    const taken = Math.ceil(bytes / UNIT_BYTES);
    const before = Atomics.add(this.units, 0, taken);
    if ((before + taken) * UNIT_BYTES <= this.bytesMax) return true;
    Atomics.sub(this.units, 0, taken);
    return false;
  }

  giveBack(bytes: number): void {
    Atomics.sub(this.units, 0, Math.ceil(bytes / UNIT_BYTES));
  }
}

/** What a store keeps in memory beside its files. */
export interface ResidentMemory {
  heads: ResidentBudget;
  vectors: ResidentBudget;
}

/** Vectors are the larger part; they are not to keep the heads out. */
const HEADS_SHARE = 1 / 4;

export function residentMemory(bytes: number): ResidentMemory {
  const heads = Math.floor(bytes * HEADS_SHARE);
  return { heads: new ResidentBudget(heads), vectors: new ResidentBudget(bytes - heads) };
}
