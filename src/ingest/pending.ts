/**
 * The entities of which a text was taken in and waits for its vector, by model version. Several of
 * one entity may wait at once. In memory alone: a hint for whoever asks for the latest.
 */
export class Pending {
  /** By version, then entity: how many of its texts wait. No empty maps. */
  readonly #waiting = new Map<string, Map<string, number>>();

  /** Notes texts of these entities; gives what is to be called, once or more, when they wait no more. */
  add(view: string, version: string, entityIds: readonly string[]): () => void {
    const key = `${view}@${version}`;
    if (entityIds.length === 0) return () => {};
    let counts = this.#waiting.get(key);
    if (counts === undefined) this.#waiting.set(key, (counts = new Map()));
    for (const id of entityIds) counts.set(id, (counts.get(id) ?? 0) + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      for (const id of entityIds) {
        const left = counts.get(id)! - 1;
        if (left === 0) counts.delete(id);
        else counts.set(id, left);
      }
      if (counts.size === 0 && this.#waiting.get(key) === counts) this.#waiting.delete(key);
    };
  }

  /** How many of a version's. */
  count(view: string, version: string): number {
    return this.#waiting.get(`${view}@${version}`)?.size ?? 0;
  }

  /** Those of a version, or undefined where nothing of it waits. */
  of(view: string, version: string): { has(entityId: string): boolean } | undefined {
    return this.#waiting.size === 0 ? undefined : this.#waiting.get(`${view}@${version}`);
  }
}
