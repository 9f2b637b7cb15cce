declare module 'fs-native-extensions' {
  /** Takes an exclusive lock of the open file, held by its description; false when another has it. */
  export function tryLock(descriptor: number): boolean;
}
