import { type Dtype, numberBytes, numbersOf, vectorBytes } from './dtype.ts';

/**
 * Makes float32 of stored vectors, one after the other: each is set down in `vector`, and then written.
 * A number of float16 is one of float32, too; one of int8 times its scale is rounded once.
 */
export class Widening {
  readonly vector: Uint8Array<ArrayBuffer>;
  private numbers;
  private scale: DataView | undefined;

  constructor(dim: number, dtype: Dtype) {
    const bytes = numberBytes(dim, dtype);
    this.vector = new Uint8Array(vectorBytes(dim, dtype));
    this.numbers = numbersOf(this.vector.subarray(0, bytes), dtype);
    if (dtype === 'int8') this.scale = new DataView(this.vector.buffer, bytes);
  }

  /** Writes the vector's numbers from `at` on. */
  write(out: Float32Array, at: number): void {
    const { numbers } = this;
    if (numbers instanceof Int8Array) writeScaled(numbers, this.times, out, at);
    else writePlain(numbers, out, at);
  }

  /** The vector as float64, which holds any of int8 times its scale. */
  exact(): Float64Array {
    return Float64Array.from(this.numbers, (number) => number * this.times);
  }

  private get times(): number {
    return this.scale?.getFloat32(0, true) ?? 1;
  }
}

// Two loops: the engine makes the better code of each for knowing what it reads.

function writeScaled(numbers: Int8Array, scale: number, out: Float32Array, at: number): void {
  for (let place = 0; place < numbers.length; place++) out[at + place] = numbers[place]! * scale;
}

function writePlain(numbers: Float32Array | Float16Array, out: Float32Array, at: number): void {
  for (let place = 0; place < numbers.length; place++) out[at + place] = numbers[place]!;
}
