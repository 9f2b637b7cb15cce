import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { hashInput } from '../../src/ingest/model-input.ts';
import { Environment } from '../../src/store/environment.ts';
import { numberKeys } from '../../src/store/keys.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { packText, Texts } from '../../src/store/texts.ts';
import { verifyStore } from '../../src/store/verify.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { seeded } from '../model/random.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { keepingView, textsIn, textsOf, vectorOf } from '../support/texts.ts';

const JOBS = { entity: 'job' };
const AS_IT_WAS = { replace: false, erasedFrom: undefined, noNewerErasures: true };
const LONG = 'Nurse for night shifts, in a team of nine. '.repeat(40);

function versionOf(store: Store): VersionStore {
  return store.version('job', 'v1');
}

async function push(store: Store, rows: Parameters<typeof textsOf>[0]): Promise<string[]> {
  return (await store.commit('job', 'v1', { rows: textsOf(rows) })).outcomes;
}

function tableIn(folder: string): { environment: Environment; texts: Texts } {
  const environment = new Environment(folder);
  onTestFinished(async () => environment.close());
  return { environment, texts: new Texts(environment) };
}

describe('the table of texts', () => {
  test('a short text stands as it is behind the hash of its input, a long one compressed', () => {
    const { environment, texts } = tableIn(tempDirectory());
    environment.commitSync(() => {
      texts.put(3, packText(hashInput('Nurse, Zürich'), 'Nurse, Zürich'));
      texts.put(7, packText(hashInput(LONG), LONG));
    });
    const short = Buffer.concat([
      hashInput('Nurse, Zürich'),
      Buffer.of(0),
      Buffer.from('Nurse, Zürich'),
    ]);
    expect(Buffer.from(texts.stored(3)!)).toEqual(short);
    const long = Buffer.from(texts.stored(7)!);
    expect(long.subarray(0, 17)).toEqual(Buffer.concat([hashInput(LONG), Buffer.of(1)]));
    expect(long.byteLength).toBeLessThan(LONG.length / 10);
    expect(texts.get(7)).toEqual({ hash: hashInput(LONG), text: LONG });
    expect([...texts.ids()]).toEqual([3, 7]);
    expect([texts.has(3), texts.has(4), texts.get(4), texts.count()]).toEqual([
      true,
      false,
      undefined,
      2,
    ]);
    expect(texts.bytes()).toBeGreaterThan(0);
  });

  test('every text comes out as it went in', () => {
    const { environment, texts } = tableIn(tempDirectory());
    let next = 0;
    const any = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 2_000 }),
      fc
        .tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.nat(500))
        .map(([part, times]) => part.repeat(times)),
    );
    fc.assert(
      fc.property(any, (text) => {
        const id = next++;
        environment.commitSync(() => texts.put(id, packText(hashInput(text), text)));
        environment.refresh();
        expect(texts.get(id)).toEqual({ hash: hashInput(text), text });
        expect(texts.isOf(id, hashInput(text))).toBe(true);
        expect(texts.isOf(id, hashInput(`${text}.`))).toBe(false);
      }),
      { numRuns: 50 },
    );
  });
});

describe('a version that keeps its inputs', () => {
  test('has the text of every revision by its vector; equal inputs share one', async () => {
    const store = testStore(keepingView());
    await push(store, [
      { id: 'a', event: 1, text: 'nurse' },
      { id: 'b', event: 1, text: 'nurse' },
      { id: 'a', event: 2, text: null },
      { id: 'a', event: 3, text: LONG },
    ]);
    await push(store, [{ id: 'c', event: 1, text: 'nurse' }]);
    const { texts, vectors } = versionOf(store);
    expect(textsIn(versionOf(store), 'a')).toEqual(['nurse', undefined, LONG]);
    expect([...textsIn(versionOf(store), 'b'), ...textsIn(versionOf(store), 'c')]).toEqual([
      'nurse',
      'nurse',
    ]);
    expect([texts!.count(), vectors.count()]).toEqual([2, 2]);
  });

  test('has both texts of two inputs that the model makes one vector of', async () => {
    const store = testStore(keepingView());
    await push(store, [
      { id: 'a', event: 1, text: 'nurse in Bern' },
      { id: 'a', event: 2, text: 'nurse in Basel' },
      { id: 'a', event: 3, text: 'nurse in Bern' },
    ]);
    expect(textsIn(versionOf(store), 'a')).toEqual([
      'nurse in Bern',
      'nurse in Basel',
      'nurse in Bern',
    ]);
    expect(versionOf(store).vectors.count()).toBe(2);
  });

  test('knows a duplicate by its vector as any other does, whatever its text is (A4)', async () => {
    const store = testStore(keepingView());
    await push(store, [{ id: 'a', event: 1, text: 'nurse in Bern' }]);
    expect(await push(store, [{ id: 'a', event: 1, text: 'nurse in Basel' }])).toEqual([
      'duplicate',
    ]);
    expect(textsIn(versionOf(store), 'a')).toEqual(['nurse in Bern']);
  });

  test('takes vectors without a text, which later texts do not share', async () => {
    const store = testStore(keepingView());
    const vector = vectorOf('nurse');
    await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector }]) });
    await push(store, [{ id: 'a', event: 2, text: 'nurse' }]);
    expect(textsIn(versionOf(store), 'a')).toEqual([undefined, 'nurse']);
  });

  test('has them after a compaction, a restart, and a backup that is restored; older programs are told', async () => {
    const directory = tempDirectory();
    const clock = new TestClock();
    let store = openStore(directory, clock.read);
    store.createView(viewOf('plain'));
    expect(formatIn(directory)).toBe(3);
    store.createView(keepingView());
    expect(formatIn(directory)).toBe(5);
    await push(store, [
      { id: 'a', event: 1, text: 'nurse' },
      { id: 'a', event: 2, text: LONG },
    ]);
    await store.compact('job', 'v1');
    expect(textsIn(versionOf(store), 'a')).toEqual(['nurse', LONG]);
    await push(store, [{ id: 'a', event: 3, text: 'cook' }]);
    const backup = join(tempDirectory(), 'backup');
    expect(await store.backup(backup)).toMatchObject({ format_version: 5 });
    await store.close();
    expect(await verifyStore(directory)).toMatchObject({
      problems: [],
      checked: { texts: 3, inputs: 3 },
    });
    store = openStore(directory, clock.read);
    expect(textsIn(versionOf(store), 'a')).toEqual(['nurse', LONG, 'cook']);
    await store.close();
    const restored = tempDirectory();
    await restoreBackup(backup, restored, AS_IT_WAS, clock.read, Math.random);
    expect(formatIn(restored)).toBe(5);
    store = openStore(restored, clock.read);
    expect(textsIn(versionOf(store), 'a')).toEqual(['nurse', LONG, 'cook']);
    await store.close();
  });

  test('has what is pushed while it is compacted', async () => {
    const store = testStore(keepingView());
    await push(store, [{ id: 'a', event: 0, text: 'text 0' }]);
    const compaction = store.compact('job', 'v1');
    for (let event = 1; event < 20; event++)
      await push(store, [{ id: 'a', event, text: `text ${event}` }]);
    await compaction;
    expect(textsIn(versionOf(store), 'a')).toEqual(
      Array.from({ length: 20 }, (_, event) => `text ${event}`),
    );
  });

  test('is found damaged where a text is not as it was written, is another one’s, or lacks', async () => {
    const directory = tempDirectory();
    const store = openStore(directory, new TestClock().read);
    store.createView(keepingView());
    await push(
      store,
      ['nurse', 'cook', 'smith'].map((text, event) => ({ id: 'a', event, text })),
    );
    const { environment, texts } = versionOf(store);
    const raw = environment.table('text', numberKeys);
    environment.commitSync(() => {
      const damaged = Buffer.from(raw.getBinary(0)!);
      damaged[20]! ^= 1;
      void raw.put(0, damaged);
      texts!.put(1, texts!.stored(2)!);
      texts!.remove(2);
      texts!.put(9, Buffer.alloc(20));
    });
    environment.refresh();
    expect(() => texts!.get(0)).toThrow('the text 0 does not have the checksum');
    await store.close();
    const problems = (await verifyStore(directory)).problems.map(
      ({ where, what }) => `${where}: ${what}`,
    );
    for (const each of [
      `${nameOf('cook')}: the text of its vector 1 is not that input`,
      `${nameOf('smith')}: the text of its vector 2 is not that input`,
      'job@v1: the text of vector 9: its vector is missing',
    ]) {
      expect(problems).toContain(each);
    }
    expect(problems.find((each) => each.startsWith('job@v1: the text of vector 0:'))).toContain(
      'checksum',
    );
  });
});

/** What verification calls the input of that text. */
function nameOf(text: string): string {
  return `job@v1: the input ${hashInput(text).toString('hex')}`;
}

function formatIn(directory: string): unknown {
  const text = readFileSync(join(directory, 'tidemark.json'), 'utf8');
  return (JSON.parse(text) as { format_version: unknown }).format_version;
}

describe('an erasure', () => {
  const SECRET = 'secret of the erased';

  async function filled(directory: string): Promise<Store> {
    const store = openStore(directory, new TestClock().read);
    onTestFinished(async () => store.close());
    store.createView(keepingView());
    await push(store, [
      { id: 'gone', event: 1, text: SECRET },
      { id: 'gone', event: 2, text: 'what both say' },
      { id: 'kept', event: 1, text: 'what both say' },
      { id: 'kept', event: 2, text: 'what one says' },
    ]);
    return store;
  }

  test('takes the texts of its entities alone; a shared one stays with the other entity (A8)', async () => {
    const directory = tempDirectory();
    const store = await filled(directory);
    await store.erase(JOBS, ['gone']);
    const { texts } = versionOf(store);
    expect([...texts!.ids()].map((id) => texts!.get(id)!.text)).toEqual([
      'what both say',
      'what one says',
    ]);
    await store.compact('job', 'v1');
    expect(textsIn(versionOf(store), 'kept')).toEqual(['what both say', 'what one says']);
    const { file } = versionOf(store).environment;
    await store.close();
    const bytes = readFileSync(file);
    expect([bytes.includes(SECRET), bytes.includes('what both say')]).toEqual([false, true]);
    expect(await verifyStore(directory)).toMatchObject({ problems: [], checked: { texts: 2 } });
  });

  test('that ends at any of its commits is finished by the next start (A8)', async () => {
    for (let commits = 0; ; commits++) {
      const directory = tempDirectory();
      let store = await filled(directory);
      const { environment } = versionOf(store);
      const commit = environment.commit.bind(environment);
      let left = commits;
      vi.spyOn(environment, 'commit').mockImplementation(async (work) => {
        if (left-- <= 0) throw new Error('the disk is full');
        return commit(work);
      });
      const receipt = await store.erase(JOBS, ['gone']);
      await store.close();
      store = openStore(directory, new TestClock().read);
      await store.maintenance.run(undefined, async () => {});
      expect(versionOf(store).texts!.count(), `after ${commits} commits`).toBe(2);
      expect(textsIn(versionOf(store), 'kept')).toEqual(['what both say', 'what one says']);
      await store.close();
      expect((await verifyStore(directory)).problems).toEqual([]);
      if (receipt.removed_at !== undefined) return;
    }
  });
});

test('after any pushes, erasures, compactions and restarts each revision has its text, and there is no other', async () => {
  for (const seed of [1, 2]) {
    const random = seeded(seed);
    const directory = tempDirectory();
    const clock = new TestClock();
    let store = openStore(directory, clock.read);
    store.createView(keepingView());
    const entities = ['a', 'b', 'c', 'd', 'e'];
    // Some of which are one to the model.
    const said = Array.from({ length: 24 }, (_, at) => `${'xy'[at % 2]}${'-'.repeat(3)}${at}`);
    const expected = new Map<string, string[]>();
    for (let step = 0, event = 0; step < 50; step++) {
      const kind = random(12);
      if (kind === 0) {
        const id = entities[random(entities.length)]!;
        await store.erase(JOBS, [id]);
        await store.liftErasure(JOBS, [id]);
        expected.delete(id);
      } else if (kind === 1) {
        await store.compact('job', 'v1');
      } else if (kind === 2) {
        await store.close();
        store = openStore(directory, clock.read);
      } else {
        const rows = Array.from({ length: 1 + random(4) }, () => ({
          id: entities[random(entities.length)]!,
          event: event++,
          text: said[random(said.length)]!,
        }));
        await push(store, rows);
        for (const { id, text } of rows) expected.set(id, [...(expected.get(id) ?? []), text]);
      }
      for (const id of entities) {
        expect(textsIn(versionOf(store), id), `seed ${seed}, step ${step}`).toEqual(
          expected.get(id) ?? [],
        );
      }
      const { texts } = versionOf(store);
      const kept = [...texts!.ids()].map((id) => texts!.get(id)!.text);
      expect(new Set(kept), `seed ${seed}, step ${step}`).toEqual(
        new Set([...expected.values()].flat()),
      );
    }
    await store.close();
    expect((await verifyStore(directory)).problems).toEqual([]);
  }
});
