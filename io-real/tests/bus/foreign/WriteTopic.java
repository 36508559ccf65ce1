import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes partition 0 of a topic as other programs do: within transactions and without, committed and aborted, one
 * transaction inside of another, each producer with a compression of its own, with nulls wherever Kafka allows them.
 *
 * <p>Arguments: bootstrap servers, topic. Prints a line {@code NAME OFFSET TIMESTAMP} for each record that readers of
 * committed records are to see, with offset and time as the broker told them, and last {@code end OFFSET}: where the log
 * ends when the markers of all transactions are written.
 */
public final class WriteTopic {
    private static final byte[] NOTHING = null;

    private static String topic;
    private static long end = 0;

    public static void main(String[] args) throws Exception {
        topic = args[1];
        try (var plain = producer(args[0], "none", null);
                var outer = producer(args[0], "zstd", "outer-" + topic);
                var inner = producer(args[0], "lz4", "inner-" + topic);
                var twice = producer(args[0], "snappy", "twice-" + topic);
                var packed = producer(args[0], "gzip", null)) {
            told("plain", send(plain, text("a"), text("1"), header("content-type", "application/json")));

            outer.beginTransaction();
            Header[] nulls = {header("trace", "x"), header("trace", null), header("empty", "")};
            RecordMetadata first = send(outer, text("b"), text("2"), nulls);
            inner.beginTransaction();
            send(inner, text("b"), text("100"));
            RecordMetadata keyless = send(outer, NOTHING, text("3"));
            send(inner, text("b"), text("101"));
            inner.abortTransaction();
            end++;
            RecordMetadata tombstone = send(outer, text("c"), NOTHING);
            outer.commitTransaction();
            end++;
            told("null-header", first);
            told("null-key", keyless);
            told("null-value", tombstone);

            twice.beginTransaction();
            send(twice, text("d"), text("102"));
            twice.abortTransaction();
            end++;
            twice.beginTransaction();
            RecordMetadata nothing = send(twice, NOTHING, NOTHING, header("ce_id", null));
            twice.commitTransaction();
            end++;
            told("all-null", nothing);

            told("packed", send(packed, text("e"), text("4")));

            inner.beginTransaction();
            send(inner, text("e"), text("103"));
            inner.abortTransaction();
            end++;
        }
        System.out.println("end " + end);
    }

    private static KafkaProducer<byte[], byte[]> producer(String servers, String compression, String transactions) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", servers);
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        settings.put("compression.type", compression);
        if (transactions != null) {
            settings.put("transactional.id", transactions);
        }
        var producer = new KafkaProducer<byte[], byte[]>(settings);
        if (transactions != null) {
            producer.initTransactions();
        }
        return producer;
    }

    /** Sends one record with a time of the producer's own, in 1970, and waits until the broker has it. */
    private static RecordMetadata send(
            KafkaProducer<byte[], byte[]> producer, byte[] key, byte[] value, Header... headers) throws Exception {
        List<Header> all = Arrays.asList(headers);
        end++;
        return producer.send(new ProducerRecord<>(topic, 0, 1_000 * end, key, value, all)).get();
    }

    private static Header header(String name, String value) {
        return new RecordHeader(name, value == null ? NOTHING : text(value));
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void told(String name, RecordMetadata at) {
        System.out.println(name + " " + at.offset() + " " + at.timestamp());
    }
}
