import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const POM = resolve('tools/kafka/pom.xml');
const LIBS = resolve('.cache/kafka/libs');
const QUIET = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
const JAVA_AT_LEAST = 17;
const START_SECONDS_MAX = 60;

/** Why a broker cannot run on this machine, or undefined when it can. */
export function missingForBroker(): string | undefined {
  const java = output('java', ['-version']);
  const major = Number(/version "(\d+)/.exec(java ?? '')?.[1] ?? 0);
  if (major < JAVA_AT_LEAST) return `Kafka needs Java ${JAVA_AT_LEAST}, found ${major || 'none'}`;
  if (!jarsAreThere() && output('mvn', ['-version']) === undefined) {
    return 'fetching Kafka needs Maven (mvn)';
  }
  return undefined;
}

/** Everything the program printed, or undefined when it does not run. */
function output(program: string, args: string[]): string | undefined {
  try {
    // `java -version` speaks on stderr.
    return execFileSync('sh', ['-c', '"$0" "$@" 2>&1', program, ...args], { encoding: 'utf8' });
  } catch {
    return undefined;
  }
}

function jarsAreThere(): boolean {
  const copied = join(LIBS, 'pom.xml');
  return existsSync(copied) && readFileSync(copied, 'utf8') === readFileSync(POM, 'utf8');
}

function fetchJars(): void {
  if (jarsAreThere()) return;
  mkdirSync(resolve('.cache/kafka'), { recursive: true });
  const fresh = mkdtempSync(resolve('.cache/kafka/fetching-'));
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime'];
  execFileSync('mvn', ['-q', '-B', '-f', POM, ...goal, `-DoutputDirectory=${fresh}`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  cpSync(POM, join(fresh, 'pom.xml'));
  // Half a folder is never seen: it gets its name when it is whole. A second run may have been
  // faster, and what it fetched is as good.
  rmSync(LIBS, { recursive: true, force: true });
  try {
    renameSync(fresh, LIBS);
  } catch (error) {
    if (!jarsAreThere()) throw error;
    rmSync(fresh, { recursive: true });
  }
}

/** One Apache Kafka broker (KRaft, one node) on free ports of 127.0.0.1, with its data in a temporary folder. */
export class Broker {
  readonly address: string;
  /** Where it listens to those who prove who they are. */
  readonly secureAddress: string;
  /** With all its data. */
  readonly folder: string;
  readonly port: number;
  private process: ChildProcess | undefined;

  private constructor(folder: string, port: number, securePort: number) {
    this.folder = folder;
    this.secureAddress = `localhost:${securePort}`;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
  }

  /**
   * A formatted broker that runs. The first call on a machine fetches Kafka with Maven.
   * `advertised` is the port that clients are sent to, where it is not the broker's own; `secure`
   * adds a listener for those who are to prove who they are.
   */
  static async launch(advertised?: number, secure?: SecureListener): Promise<Broker> {
    fetchJars();
    const [port, controllerPort, securePort] = await freePorts();
    const broker = new Broker(mkdtempSync(join(tmpdir(), 'tidemark-kafka-')), port, securePort);
    const settings = {
      ...configuration(broker.folder, port, controllerPort, advertised ?? port),
      ...(secure && secureListener(port, controllerPort, securePort, secure)),
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
    writeFileSync(broker.configFile, lines.join(''));
    const format = ['kafka.tools.StorageTool', 'format', '--cluster-id', clusterId()];
    const users = (secure?.scram ?? []).flatMap((user) => ['--add-scram', user]);
    const told = ['--config', broker.configFile, ...users];
    execFileSync('java', [QUIET, '-cp', `${LIBS}/*`, ...format, ...told]);
    await broker.start();
    return broker;
  }

  /** Of the shell that guards the broker, and has started it. */
  get pid(): number | undefined {
    return this.process?.pid;
  }

  private get configFile(): string {
    return join(this.folder, 'server.properties');
  }

  private get logFile(): string {
    return join(this.folder, 'broker.out');
  }

  /** Starts on the same ports and data as before; resolves when the broker takes connections. */
  async start(): Promise<void> {
    const jvm = ['-Xms128m', '-Xmx384m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
    const log = openSync(this.logFile, 'a');
    // The shell holds the read end of our pipe: when this process ends, however it ends, the pipe
    // closes and the broker is killed. A session of its own keeps Ctrl-C from ending the shell first.
    const guard = '"$@" & broker=$!; cat; kill -9 $broker; wait $broker';
    const command = ['java', ...jvm, QUIET, '-cp', `${LIBS}/*`, 'kafka.Kafka', this.configFile];
    this.process = spawn('sh', ['-c', guard, 'sh', ...command], {
      detached: true,
      stdio: ['pipe', log, log],
    });
    closeSync(log);
    const started = Date.now();
    while (!(await accepts(this.port))) {
      if (Date.now() - started > START_SECONDS_MAX * 1_000) {
        await this.kill();
        const printed = readFileSync(this.logFile, 'utf8').slice(-4_000);
        throw new Error(`Kafka did not start in ${START_SECONDS_MAX} s; it printed:\n${printed}`);
      }
      await delay(50);
    }
  }

  /** Ends the broker as kill -9 does; resolves when it is gone. Its data stays. */
  async kill(): Promise<void> {
    const process = this.process;
    if (process === undefined) return;
    this.process = undefined;
    const gone = once(process, 'exit');
    process.stdin?.end();
    await gone;
  }

  /** Ends the broker and removes its data. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A listener with TLS and SASL, and who may come in. */
export interface SecureListener {
  /** Settings of the listener by the names that they have without it. */
  settings: Record<string, string>;
  /** Users of SCRAM as the storage tool takes them. */
  scram: string[];
}

function secureListener(
  port: number,
  controllerPort: number,
  securePort: number,
  { settings }: SecureListener,
): Record<string, string> {
  const own = Object.entries(settings).map(([key, value]) => [
    `listener.name.secure.${key}`,
    value,
  ]);
  return {
    listeners: `BROKER://127.0.0.1:${port},SECURE://127.0.0.1:${securePort},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `BROKER://127.0.0.1:${port},SECURE://localhost:${securePort}`,
    'listener.security.protocol.map': 'BROKER:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT',
    ...(Object.fromEntries(own) as Record<string, string>),
  };
}

function configuration(
  folder: string,
  port: number,
  controllerPort: number,
  advertisedPort: number,
): Record<string, string | number | boolean> {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `BROKER://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `BROKER://127.0.0.1:${advertisedPort}`,
    'listener.security.protocol.map': 'BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'BROKER',
    'log.dirs': join(folder, 'data'),
    'num.network.threads': 2,
    'num.io.threads': 2,
    'num.partitions': 1,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'group.initial.rebalance.delay.ms': 0,
    // After a kill -9 the controller does not let the broker back in before its old session ends.
    'broker.session.timeout.ms': 1_000,
    'broker.heartbeat.interval.ms': 200,
    // Members that are gone leave the group soon, when a test asks for it.
    'group.min.session.timeout.ms': 1_000,
    'auto.create.topics.enable': false,
    // Topics are compacted as soon as there is something to compact.
    'log.cleaner.backoff.ms': 500,
  };
}

/** 22 characters, and none that a command line takes for an option. */
function clusterId(): string {
  return randomBytes(16).toString('base64url').replace(/^-/, 'A');
}

async function freePorts(): Promise<[number, number, number]> {
  // They are held at once, so that they differ.
  const servers = [createServer(), createServer(), createServer()] as const;
  const ports = await Promise.all(
    servers.map(async (server) => {
      await once(server.listen(0, '127.0.0.1'), 'listening');
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('expected a port');
      return address.port;
    }),
  );
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return [ports[0]!, ports[1]!, ports[2]!];
}

async function accepts(port: number): Promise<boolean> {
  const socket = new Socket();
  try {
    await once(socket.connect(port, '127.0.0.1'), 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
