import type { ServerResponse } from 'node:http';

import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
} from 'fastify';

import { TidemarkError, TryLater } from '../ground/errors.ts';
import { deadlineExceeded, waitedFor } from './deadline.ts';
import type { Limits } from './limits.ts';
import type { Refusal } from './protection-metrics.ts';
import type { WaitingLine } from './waiting-line.ts';

/** Smaller answers are not counted: the kernel takes them whole. */
const COUNTED_MIN = 2 ** 16;

const RETRY_SECONDS = 1;

/**
 * Lets requests in, or refuses them before any work is spent on them. Those of routes that are
 * `vital` are let in always, and do not count.
 */
export class Admission {
  /** Requests that are without the whole of their answer. */
  underWay = 0;
  /** Bytes of whole answers that the kernel has not taken yet, for their clients do not. */
  unsentBytes = 0;
  private unsent = new Map<ServerResponse, number>();
  private arriving = new Map<ServerResponse, number>();
  private limits: Limits;
  private line: WaitingLine;
  private noteRefused: (why: Refusal) => void;

  constructor(limits: Limits, line: WaitingLine, noteRefused: (why: Refusal) => void) {
    this.limits = limits;
    this.line = line;
    this.noteRefused = noteRefused;
  }

  addTo(server: FastifyInstance): void {
    server.decorateRequest('deadline', undefined);
    server.addHook('onRoute', (route) => {
      if (route.config?.vital === true) return;
      route.onRequest = [this.enter, ...[route.onRequest ?? []].flat()];
      route.preValidation = [this.begin, ...[route.preValidation ?? []].flat()];
    });
    server.addHook('onSend', (_request, { raw }, payload, done) => {
      if (typeof payload === 'string' || Buffer.isBuffer(payload)) this.send(raw, payload.length);
      done();
    });
  }

  /** An answer that was made whole, and is being sent. */
  isWhole(response: ServerResponse): boolean {
    return this.unsent.has(response);
  }

  /** Those whose body has been on its way since before then; each is told of once. */
  *arrivingSince(then: number): Generator<ServerResponse> {
    for (const [response, since] of this.arriving) {
      if (since >= then) return;
      this.arriving.delete(response);
      yield response;
    }
  }

  // Callbacks, not promises: that is what a small lookup would feel.
  private enter = (
    request: FastifyRequest,
    { raw: response }: FastifyReply,
    done: HookHandlerDoneFunction,
  ): void => {
    const { limits, line } = this;
    if (this.underWay >= limits.requests) {
      done(this.refuse('requests', `${this.underWay} requests are under way`));
      return;
    }
    if (this.unsentBytes >= limits.unsent_bytes) {
      done(this.refuse('unsent', `${this.unsentBytes} bytes of answers wait for their clients`));
      return;
    }
    const { headers } = request.raw;
    let time: number | undefined;
    try {
      time = waitedFor(headers);
    } catch (error) {
      done(error as TidemarkError);
      return;
    }
    this.underWay++;
    response.once('close', () => this.leave(response));
    const now = performance.now();
    if (time !== undefined) request.deadline = now + time;
    if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
      this.arriving.set(response, now);
    }
    if (line.isFree()) done();
    else line.join((isLate) => done(this.settle(request, isLate)));
  };

  /** When the body has been read, and before anything else is done. */
  private begin = (
    { deadline }: FastifyRequest,
    { raw: response }: FastifyReply,
    done: HookHandlerDoneFunction,
  ): void => {
    this.arriving.delete(response);
    if (deadline !== undefined && performance.now() >= deadline) {
      this.noteRefused('deadline');
      done(deadlineExceeded('before it could be begun'));
      return;
    }
    done();
  };

  /** What keeps a request that had to wait from being worked on. */
  private settle({ raw }: FastifyRequest, isLate: boolean): TidemarkError | undefined {
    if (!raw.socket.writable) {
      this.noteRefused('gone');
      return new TidemarkError('BAD_REQUEST', 'the caller left before its turn came');
    }
    return isLate ? this.refuse('wait', 'there is more to do than can be done in time') : undefined;
  }

  private refuse(why: Refusal, message: string): TidemarkError {
    this.noteRefused(why);
    return new TryLater(
      'UNDER_PRESSURE',
      `${message}: try again after a moment, or ask another server`,
      RETRY_SECONDS,
    );
  }

  private send(response: ServerResponse, bytes: number): void {
    if (bytes < COUNTED_MIN || response.closed) return;
    const before = this.unsent.get(response);
    // Of any route: those that are let in always have answers, too.
    if (before === undefined) response.once('close', () => this.taken(response));
    this.unsentBytes += bytes - (before ?? 0);
    this.unsent.set(response, bytes);
  }

  private taken(response: ServerResponse): void {
    this.unsentBytes -= this.unsent.get(response)!;
    this.unsent.delete(response);
  }

  private leave(response: ServerResponse): void {
    this.underWay--;
    this.arriving.delete(response);
  }
}
