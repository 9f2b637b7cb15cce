import { idOf, Vectors } from '../harness/data-set.ts';

/** Rows that are pushed at once. */
export interface PushedRows {
  ids: string[];
  /** Each in memory of its own, float32 little-endian. */
  vectors: Buffer[];
}

/**
 * Rows to push, batch after batch: entities in a scattered order, and no vector twice, so that
 * nobody is spared writing one. A batch is filled anew once it was given back.
 */
export class RowSource {
  private vectors: Vectors;
  private free = new Map<number, PushedRows[]>();
  private next = 0;
  private entities: number;
  private dim: number;

  constructor(entities: number, dim: number) {
    this.vectors = new Vectors(dim);
    this.entities = entities;
    this.dim = dim;
  }

  take(size: number): PushedRows {
    const rows = this.free.get(size)?.pop() ?? this.room(size);
    for (let row = 0; row < size; row++) {
      const number = this.next++;
      const entity = (number * 7_919) % this.entities;
      rows.ids[row] = idOf('job', entity);
      this.vectors.write(entity, Math.floor(number / this.entities), rows.vectors[row]!);
    }
    return rows;
  }

  giveBack(rows: PushedRows): void {
    const size = rows.ids.length;
    const free = this.free.get(size);
    if (free === undefined) this.free.set(size, [rows]);
    else free.push(rows);
  }

  private room(size: number): PushedRows {
    return {
      ids: Array.from({ length: size }, () => ''),
      vectors: Array.from({ length: size }, () => Buffer.from(new ArrayBuffer(this.dim * 4))),
    };
  }
}
