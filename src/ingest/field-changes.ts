import { crc32 } from 'node:zlib';

/** Entities whose last fields are remembered, the newest. */
const ENTITIES_MAX = 4_096;
/** Events of entities that were seen before, from which on something can be said. */
const EVENTS_MIN = 1_000;
/** A field that is another one in this share of the events changes with every event. */
const VOLATILE_SHARE = 0.95;

/**
 * How often each field of a prompt is another one than at the entity's last event. One that always
 * is, as a time or a counter, makes every text a new one: nothing is deduped then, and each event
 * costs an inference.
 */
export class FieldChanges {
  /** Events of entities that were seen before. */
  events = 0;
  /** By field: in how many of them it was another one. */
  readonly changes: Record<string, number>;
  private names: readonly string[];
  /** By entity, the one longest not heard of first: a checksum of every field. */
  private last = new Map<string, Uint32Array>();

  constructor(names: readonly string[]) {
    this.names = names;
    this.changes = Object.fromEntries(names.map((name) => [name, 0]));
  }

  note(entityId: string, fields: Readonly<Record<string, unknown>>): void {
    const now = Uint32Array.from(this.names, (name) =>
      // What an object inherits is no field of a record.
      Object.hasOwn(fields, name) ? crc32(String(fields[name])) : 0,
    );
    const before = this.last.get(entityId);
    this.last.delete(entityId);
    this.last.set(entityId, now);
    if (this.last.size > ENTITIES_MAX) this.last.delete(this.last.keys().next().value!);
    if (before === undefined) return;
    this.events++;
    this.names.forEach((name, at) => {
      if (now[at] !== before[at]) this.changes[name]!++;
    });
  }

  /** Fields that change with every event. */
  volatile(): string[] {
    if (this.events < EVENTS_MIN) return [];
    return this.names.filter((name) => this.changes[name]! >= VOLATILE_SHARE * this.events);
  }
}
