const LENGTH_MAX = 80;

/**
 * What a stranger sent, for a message: enough to tell it apart, never all of it. Objects and arrays
 * are named and not shown, since they may be as deep as they like.
 */
export function excerpt(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > LENGTH_MAX ? `${value.slice(0, LENGTH_MAX - 1)}…` : value);
  }
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}
