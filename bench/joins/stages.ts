/** Milliseconds by what they went to, of one-thread.ts. */
export interface Stages {
  read: number;
  resolve: number;
  gather: number;
  sha256: number;
  write: number;
}
