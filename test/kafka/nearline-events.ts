import type { Message } from 'kafkajs';

import { range } from './bench.ts';

/** Where the events of each kind go. */
export interface NearlineTopics {
  jobs: string;
  profiles: string;
  resumes: string;
}

/** A message, and the topic and partition that it belongs in. */
export interface Addressed {
  topic: string;
  partition: number;
  message: Message;
}

export const JOB_PARTITIONS = 2;
const START = Date.parse('2026-03-01T00:00:00Z');
const TITLES = ['Baker', 'Night nurse', 'Chef', 'Welder', 'Data analyst', 'Driver'];
const PLACES = ['Bergen', 'Oslo', 'Trondheim', 'Bodø'];
/** What many postings share. */
const BOILERPLATE = 'We are an employer that likes people. '.repeat(6);

/**
 * Changes of job postings, and of members, whose profile and résumé come in topics of their own:
 * most of them new, some late, some told twice, some deletes, some that nobody can read.
 */
export class NearlineEvents {
  /** A number for each event: it happened so many seconds after the start. */
  private next = 0;
  private last: Addressed | undefined;
  /** Résumés that are there: the database tells of the others' text only when it has changed. */
  private hasResume = new Set<string>();
  private topics: NearlineTopics;
  private random: (below: number) => number;

  constructor(topics: NearlineTopics, random: (below: number) => number) {
    this.topics = topics;
    this.random = random;
  }

  take(count: number): Addressed[] {
    return range(0, count).map(() => this.one());
  }

  private one(): Addressed {
    const { random } = this;
    const known = START + this.next++ * 1_000;
    const event = random(10) === 0 ? known - random(300) * 1_000 : known;
    if (this.last !== undefined && random(30) === 0) return at(this.last, known);
    const kinds = [() => this.job(event), () => this.profile(event), () => this.resume(event)];
    this.last = at(kinds[[0, 0, 0, 1, 2][random(5)]!]!(), known);
    return this.last;
  }

  private job(ts_ms: number): Addressed {
    const number = this.random(60);
    const id = `j${number}`;
    const where = { topic: this.topics.jobs, partition: number % JOB_PARTITIONS };
    const spoilt = this.random(40);
    if (spoilt === 0) return { ...where, message: { key: id, value: 'no JSON' } };
    const isDelete = spoilt < 4;
    const after = { title: this.title(), place: this.pick(PLACES), about: BOILERPLATE };
    const value = { op: isDelete ? 'd' : 'u', ts_ms, id, after: isDelete ? null : after };
    return { ...where, message: { key: id, value: JSON.stringify(value) } };
  }

  private profile(ts_ms: number): Addressed {
    const id = `m${this.random(25)}`;
    const value =
      this.random(12) === 0
        ? { id, ts_ms, gone: true }
        : { id, ts_ms, gone: false, headline: this.title(), skills: [this.pick(PLACES)] };
    const message = { key: id, value: JSON.stringify(value) };
    return { topic: this.topics.profiles, partition: 0, message };
  }

  /** As Debezium tells it. */
  private resume(ts_ms: number): Addressed {
    const id = `m${this.random(25)}`;
    const isThere = this.hasResume.has(id);
    const isDelete = isThere && this.random(8) === 0;
    // Of one in a hundred nothing is known that it could leave unsaid.
    const isUnsaid = isThere ? this.random(3) === 0 : this.random(100) === 0;
    const text = isUnsaid ? '__debezium_unavailable_value' : `${this.title()} since 1999`;
    const row = { id, text, town: this.pick(PLACES) };
    if (isDelete) this.hasResume.delete(id);
    else if (!isUnsaid) this.hasResume.add(id);
    const value = {
      op: isDelete ? 'd' : isThere ? 'u' : 'c',
      before: isThere ? { id } : null,
      after: isDelete ? null : row,
      source: { ts_ms },
    };
    const message = { key: id, value: JSON.stringify(value) };
    return { topic: this.topics.resumes, partition: 0, message };
  }

  /** One that was there before as often as not. */
  private title(): string {
    return this.pick(TITLES) + (this.random(2) === 0 ? '' : ` of shift ${this.random(1_000_000)}`);
  }

  private pick(words: readonly string[]): string {
    return words[this.random(words.length)]!;
  }
}

/** The same, written at that moment. */
function at({ message, ...where }: Addressed, known: number): Addressed {
  return { ...where, message: { ...message, timestamp: String(known) } };
}
