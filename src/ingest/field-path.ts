/** Where a field stands in a JSON value: the names from the outermost in. */
export type FieldPath = readonly string[];

/** The path that a text such as `after.title` names. */
export function fieldPath(text: string): FieldPath {
  return text.split('.');
}

/**
 * The field's value, or undefined where the value has no such field. What objects inherit is none,
 * and bytes have none.
 */
export function lookupField(value: unknown, path: FieldPath): unknown {
  let at = value;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || ArrayBuffer.isView(at)) return undefined;
    if (!Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
