import { EntityIds } from '../store/entity-ids.ts';
import { isPerhapsMisread } from './media.ts';

/** The ids of a lookup, as they were sent, or as they were read out of the body. */
export type AskedIds = readonly unknown[] | EntityIds;

export function countOfIds(asked: AskedIds): number {
  return asked instanceof EntityIds ? asked.count : asked.length;
}

/** `isPacked`: they come out of MessagePack. What is no id is a row that says so. */
export function readAskedIds(asked: AskedIds, isPacked: boolean): EntityIds {
  if (asked instanceof EntityIds) return asked;
  const ids = new EntityIds();
  for (const value of asked) ids.add(idOf(value, isPacked));
  return ids;
}

/** The empty text, which no entity can be called, for what is no id. */
function idOf(value: unknown, isPacked: boolean): string {
  if (typeof value === 'string') return isPacked && isPerhapsMisread(value) ? '' : value;
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : '';
}
