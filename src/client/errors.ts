/** The server refused: `code` is stable, what to do about it is in docs/errors.md. */
export class TidemarkRefused extends Error {
  override name = 'TidemarkRefused';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** There was no answer in time, however often it was asked. `cause`: what broke off last. */
export class TidemarkUnreachable extends Error {
  override name = 'TidemarkUnreachable';
}
