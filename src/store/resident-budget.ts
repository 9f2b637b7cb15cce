/** How much memory what is resident may take, bytes; all versions of a store share it. */
export class ResidentBudget {
  readonly bytesMax: number;
  used = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Takes so much of it; false, with nothing taken, where so much is not left. */
  take(bytes: number): boolean {
    if (this.used + bytes > this.bytesMax) return false;
    this.used += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.used -= bytes;
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
