// What a group's offsets are on another cluster, by Kafka's own reader of MirrorMaker 2's checkpoints and heartbeats.
import java.time.Duration;
import java.util.Map;

import org.apache.kafka.connect.mirror.RemoteClusterUtils;

public final class TranslateOffsets {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> properties = Map.of("bootstrap.servers", arguments[0]);
        RemoteClusterUtils.translateOffsets(properties, arguments[1], arguments[2], Duration.ofSeconds(20))
            .forEach((partition, offset) -> System.out.println(partition + " " + offset.offset() + " " + offset.metadata()));
        System.out.println("hops " + RemoteClusterUtils.replicationHops(properties, arguments[1]));
        System.out.println("checkpoints " + RemoteClusterUtils.checkpointTopics(properties));
        System.out.println("upstream " + RemoteClusterUtils.upstreamClusters(properties));
    }
}
