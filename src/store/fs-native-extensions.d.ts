declare module 'fs-native-extensions' {
  /**
   * Takes a lock of the open file, exclusive unless said otherwise, held by its description; false
   * when another has it.
   */
  export function tryLock(descriptor: number, options?: { shared: boolean }): boolean;
}
