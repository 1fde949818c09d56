// A Kafka Streams application that counts words, with the newest group protocol: a topic to pass words on by, and a changelog of the
// counts. Tells its state line by line, and ends when its input does.
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

public class WordCount {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 6) {
            System.err.println("WordCount BOOTSTRAP APPLICATION INPUT OUTPUT STATE-DIRECTORY THREADS [KEY=VALUE...]");
            System.exit(2);
        }
        var settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[5]);
        settings.put("group.protocol", "streams");
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "200");
        settings.put("auto.offset.reset", "earliest");
        for (var i = 6; i < arguments.length; i++) {
            var pair = arguments[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        var builder = new StreamsBuilder();
        builder.stream(arguments[2], Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .map((key, word) -> new KeyValue<>(word, word))
            .groupByKey(Grouped.with("words", Serdes.String(), Serdes.String()))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts")).withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long()).withCachingDisabled())
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(arguments[3], Produced.with(Serdes.String(), Serdes.String()));
        var streams = new KafkaStreams(builder.build(), settings);
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(error -> {
            System.out.println("error " + error);
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        var reader = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        for (var line = reader.readLine(); line != null; line = reader.readLine()) {
            if (line.equals("tasks")) {
                var text = new StringBuilder("tasks");
                for (var thread : streams.metadataForLocalThreads()) {
                    for (var task : thread.activeTasks()) text.append(" ").append(task.taskId());
                    for (var task : thread.standbyTasks()) text.append(" standby:").append(task.taskId());
                }
                System.out.println(text);
            }
        }
        streams.close(java.time.Duration.ofSeconds(30));
        System.out.println("closed");
    }
}
