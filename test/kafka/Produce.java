import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes one batch as Java's own client compresses it: broker, topic, codec, records, characters of each. */
public final class Produce {
  public static void main(String[] args) throws Exception {
    var settings = new Properties();
    settings.put("bootstrap.servers", args[0]);
    settings.put("compression.type", args[2]);
    // All of it is one batch, so that codecs have more than one block to write.
    settings.put("batch.size", "900000");
    settings.put("linger.ms", "2000");
    var count = Integer.parseInt(args[3]);
    var padding = "x".repeat(Integer.parseInt(args[4]));
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      for (var at = 0; at < count; at++) {
        producer.send(new ProducerRecord<>(args[1], 0, "e" + at, at + " " + (at * 2654435761L) + padding));
      }
    }
  }
}
