import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { createClient } from '../../src/ingest/kafka/client.ts';
import { type KafkaConnection, kafkaConnectionSchema } from '../../src/ingest/source-config.ts';
import { Bench, numbered, SOON } from './bench.ts';
import { Broker } from './broker.ts';
import { Cluster, describeKafka, SILENT } from './cluster.ts';

const PASSWORD = 'correct horse';

/** Names an authority and what it vouches for: the broker as `localhost`, and us. Made by openssl. */
function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const fresh = ['req', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  for (const ca of ['ca', 'stranger']) {
    openssl(...fresh, '-x509', '-subj', `/CN=${ca}`, '-keyout', `${ca}.key`, '-out', `${ca}.pem`);
  }
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost');
  for (const who of ['broker', 'us']) {
    openssl(...fresh, '-subj', `/CN=${who}`, '-keyout', `${who}.key`, '-out', `${who}.csr`);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names'];
    openssl('x509', '-req', '-days', '2', '-in', `${who}.csr`, ...by, '-out', `${who}.pem`);
  }
  const chain = ['broker.key', 'broker.pem'].map((name) =>
    readFileSync(join(folder, name), 'utf8'),
  );
  writeFileSync(join(folder, 'keystore.pem'), chain.join(''));
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** A token that says who we are, which a broker without an authority for tokens believes. */
function tokenOf(subject: string, now = Math.floor(Date.now() / 1_000)): string {
  return `${part({ alg: 'none' })}.${part({ sub: subject, iat: now - 10, exp: now + 600 })}.`;
}

describeKafka('a broker that asks who is there', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-tls-'));
  const file = (name: string) => join(folder, name);
  let broker: Broker;

  beforeAll(async () => {
    makeCertificates(folder);
    writeFileSync(file('password'), `${PASSWORD}\n`);
    writeFileSync(file('token'), tokenOf('us'));
    const oauth = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule';
    broker = await Broker.launch(undefined, {
      settings: {
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': file('keystore.pem'),
        'ssl.truststore.type': 'PEM',
        'ssl.truststore.location': file('ca.pem'),
        'ssl.client.auth': 'required',
        'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
        'plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_me="${PASSWORD}";`,
        'scram-sha-256.sasl.jaas.config':
          'org.apache.kafka.common.security.scram.ScramLoginModule required;',
        'scram-sha-512.sasl.jaas.config':
          'org.apache.kafka.common.security.scram.ScramLoginModule required;',
        'oauthbearer.sasl.jaas.config': `${oauth} required unsecuredLoginStringClaim_sub="broker";`,
      },
      scram: [256, 512].map((bits) => `SCRAM-SHA-${bits}=[name=me,password=${PASSWORD}]`),
    });
  });

  afterAll(async () => {
    await broker.remove();
    rmSync(folder, { recursive: true });
  });

  const ssl = { ca: file('ca.pem'), cert: file('us.pem'), key: file('us.key') };

  function connectionOf(settings: object): KafkaConnection {
    return kafkaConnectionSchema.parse({ brokers: [broker.secureAddress], ssl, ...settings });
  }

  /** What a client with these settings meets: the number of brokers, or why it meets none. */
  async function meet(settings: object): Promise<number | string> {
    try {
      const admin = createClient(connectionOf(settings), 'tidemark-test', SILENT).admin();
      try {
        await admin.connect();
        return (await admin.describeCluster()).brokers.length;
      } finally {
        await admin.disconnect();
      }
    } catch (error) {
      return String(error);
    }
  }

  const me = { username: 'me', password: PASSWORD };

  test.each(['plain', 'scram-sha-256', 'scram-sha-512'])(
    'lets us in by %s, with the password in the settings or in a file',
    async (mechanism) => {
      expect(await meet({ sasl: { mechanism, ...me } })).toBe(1);
      const password_file = file('password');
      expect(await meet({ sasl: { mechanism, username: 'me', password_file } })).toBe(1);
    },
  );

  test('lets us in by a token', async () => {
    expect(await meet({ sasl: { mechanism: 'oauthbearer', token_file: file('token') } })).toBe(1);
  });

  test.each([
    ['another password', { sasl: { mechanism: 'plain', username: 'me', password: 'hunter2' } }],
    [
      'another password',
      { sasl: { mechanism: 'scram-sha-512', username: 'me', password: 'hunter2' } },
    ],
  ])('does not let us in by %s, which is not told', async (_name, settings) => {
    const met = await meet(settings);
    expect(met).toMatch(/[Aa]uthentication/);
    expect(met).not.toContain('hunter2');
  });

  test.each([
    ['nobody we know vouches for it', { ssl: { ...ssl, ca: file('stranger.pem') } }, /certificate/],
    ['only the well-known ones are trusted', { ssl: true }, /certificate/],
    ['it has another name', { ssl: { ...ssl, server_name: 'elsewhere' } }, /elsewhere|altnames/],
  ])('is not talked to where %s', async (_name, settings, why) => {
    expect(await meet({ sasl: { mechanism: 'plain', ...me }, ...settings })).toMatch(why);
  });

  test('does not let us in without a certificate of our own', async () => {
    const met = await meet({ ssl: { ca: ssl.ca }, sasl: { mechanism: 'plain', ...me } });
    expect(met).toMatch(/alert/);
  });

  test('a file that is not there is named with its setting, when it is needed', async () => {
    const nowhere = file('nowhere');
    expect(await meet({ ssl: { ...ssl, ca: nowhere } })).toContain(
      `kafka.ssl.ca: the file ${nowhere} cannot be read (ENOENT)`,
    );
    const sasl = { mechanism: 'plain', username: 'me', password_file: nowhere };
    expect(await meet({ sasl })).toContain('kafka.sasl.password_file: the file');
  });

  test('a source reads through it', async () => {
    const cluster = new Cluster(broker.address);
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(10));
    await cluster.close();
    const bench = new Bench();
    const sasl = { mechanism: 'scram-sha-512', username: 'me', password_file: file('password') };
    const source = bench.start({ topics: [topic] }, { connection: connectionOf({ sasl }) });
    await expect.poll(() => source.counters.events.latest, SOON).toBe(10);
  });
});
