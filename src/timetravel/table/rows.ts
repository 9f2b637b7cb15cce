/** What is asked of a table: names of its columns. */
export interface TableColumns {
  id: string;
  /** Those that tell moments. */
  times: readonly string[];
  values: readonly string[];
}

/** Consecutive rows of a table. */
export interface TableRows {
  /** The number of the first of them, from 0. */
  firstRow: number;
  /** Null where the row has none. */
  ids: (string | null)[];
  /** By column, µs; NaN where the row has no moment. */
  times: Record<string, Float64Array>;
  /** By column: texts, numbers, booleans, lists of these, and null. */
  values: Record<string, unknown[]>;
  /** Rows that cannot be read at all, by their index here, and why. */
  broken: Map<number, string>;
}

/** Rows that are read at a time. */
export const TABLE_ROWS = 500;
