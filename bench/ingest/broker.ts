import { Broker } from '../../test/kafka/broker.ts';
import { atEnd } from '../harness/at-end.ts';
import { removeFolder } from '../harness/folder.ts';

/** A broker of this machine, and its data, for as long as the work goes on, however that ends. */
export async function withBroker(work: (broker: Broker) => Promise<void>): Promise<void> {
  const broker = await Broker.launch();
  const callOff = atEnd(() => {
    // It leads a group of its own. Else it would end after this process, and leave its data.
    process.kill(-broker.pid!, 'SIGKILL');
    removeFolder(broker.folder);
  });
  await work(broker);
  await broker.remove();
  callOff();
}
