const undoings = new Set<() => void>();

process.once('exit', () => {
  // Programs are ended before the folders go in which they write.
  for (const undo of [...undoings].toReversed()) undo();
});
// Who breaks a benchmark off leaves nothing behind either.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/**
 * What is done when the benchmark ends, however it ends; what was asked for last comes first. It has
 * to be done at once. The answer calls it off.
 */
export function atEnd(undo: () => void): () => void {
  undoings.add(undo);
  return () => undoings.delete(undo);
}
