/** Threads that everybody has who can have more than one. */
export const THREADS = 2;
