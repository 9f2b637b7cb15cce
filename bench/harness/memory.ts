import { readFileSync } from 'node:fs';

const EVERY_MS = 20;

/** What a process had at most while it was watched. */
export interface PeakMemory {
  /** Its own memory: without the pages of files, which the page cache holds for all (RssAnon). */
  anonymousBytes: number;
  /** With the pages of files that it has mapped (VmRSS). */
  residentBytes: number;
}

/** Looks at a process again and again until it is told to stop. */
export function watchMemory(pid: number): () => PeakMemory {
  const peak = { anonymousBytes: 0, residentBytes: 0 };
  function look(): void {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    peak.anonymousBytes = Math.max(peak.anonymousBytes, bytesOf(status, 'RssAnon'));
    peak.residentBytes = Math.max(peak.residentBytes, bytesOf(status, 'VmRSS'));
  }
  look();
  const timer = setInterval(look, EVERY_MS);
  return () => {
    clearInterval(timer);
    look();
    return peak;
  };
}

function bytesOf(status: string, name: string): number {
  const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  return Number(kibibytes) * 1_024;
}
