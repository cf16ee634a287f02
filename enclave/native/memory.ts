/** Zeroed memory that stays where it is: V8 may keep smaller arrays in its own heap, and moves them there. */
export function nativeMemory(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes));
}

/** These bytes in such memory. */
export function nativeCopy(bytes: Uint8Array): Uint8Array {
  const memory = nativeMemory(bytes.length);
  memory.set(bytes);
  return memory;
}
