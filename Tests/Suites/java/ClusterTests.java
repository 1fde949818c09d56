// Runs Apache Kafka's own @ClusterTest classes against nodes that are processes of their own, instead of brokers in this JVM. What is
// asked of the nodes (start, stop, wait for a topic) is said in lines of JSON on standard output and answered on standard input by
// java_suite.py, which started this.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import kafka.network.SocketServer;
import kafka.server.ControllerServer;
import kafka.server.KafkaBroker;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.GroupProtocol;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.test.ClusterInstance;
import org.apache.kafka.common.test.api.AutoStart;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.common.test.api.ClusterConfigProperty;
import org.apache.kafka.common.test.api.ClusterTemplate;
import org.apache.kafka.common.test.api.ClusterTest;
import org.apache.kafka.common.test.api.ClusterTestDefaults;
import org.apache.kafka.common.test.api.Type;
import org.apache.kafka.metadata.MetadataCache;
import org.apache.kafka.server.fault.FaultHandlerException;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Disabled;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.annotation.Annotation;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

public class ClusterTests {
    static final ObjectMapper JSON = new ObjectMapper();
    static final PrintStream OUT = System.out;
    static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in));
    static final long TEST_SECONDS = 120;

    static synchronized JsonNode ask(Map<String, Object> question) {
        try {
            OUT.println(JSON.writeValueAsString(question));
            OUT.flush();
            JsonNode answer = JSON.readTree(IN.readLine());
            if (answer.has("error")) throw new IllegalStateException(answer.get("error").asText());
            return answer;
        } catch (java.io.IOException error) {
            throw new IllegalStateException(error);
        }
    }

    static synchronized void tell(String test, String outcome, String message) {
        ask(Map.of("do", "outcome", "test", test, "outcome", outcome, "message", message));
    }

    /** Nodes outside of this JVM; whatever reaches for the objects of a broker finds none. */
    static class Nodes implements ClusterInstance {
        final ClusterConfig config;
        String bootstrap = "", controllers = "", id = "";
        boolean started, stopped;
        final Set<Integer> down = new HashSet<>();

        Nodes(ClusterConfig config) {
            this.config = config;
        }

        @Override public void start() {
            if (started) return;
            JsonNode answer = ask(Map.of(
                "do", "start", "brokers", config.numBrokers(), "properties", config.serverProperties(),
                "each", config.perServerOverrideProperties(), "protocol", config.brokerSecurityProtocol().name));
            bootstrap = answer.get("bootstrap").asText();
            controllers = answer.get("controllers").asText();
            id = answer.get("id").asText();
            started = true;
        }

        @Override public void stop() {
            if (started && !stopped) ask(Map.of("do", "stop"));
            stopped = true;
        }

        @Override public void shutdownBroker(int broker) {
            ask(Map.of("do", "shutdown", "broker", broker));
            down.add(broker);
        }

        @Override public void startBroker(int broker) {
            ask(Map.of("do", "restart", "broker", broker));
            down.remove(broker);
        }

        @Override public void waitForTopic(String topic, int partitions) {
            ask(Map.of("do", "topic", "topic", topic, "partitions", partitions));
        }

        @Override public void waitForReadyBrokers() {
            ask(Map.of("do", "ready"));
        }

        @Override public void waitAcls(AclBindingFilter filter, Collection<AccessControlEntry> entries) throws InterruptedException {
            Set<AccessControlEntry> wanted = new HashSet<>(entries), found = new HashSet<>();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(15);
            try (Admin admin = admin()) {
                do {
                    found.clear();
                    for (AclBinding each : admin.describeAcls(filter).values().get()) found.add(each.entry());
                    if (found.equals(wanted)) return;
                    Thread.sleep(50);
                } while (System.nanoTime() < deadline);
            } catch (ExecutionException error) {
                throw new AssertionError(error);
            }
            throw new AssertionError("expected acls: " + wanted + ", actual acls: " + found);
        }

        @Override public Set<Integer> brokerIds() {
            Set<Integer> ids = new TreeSet<>();
            for (int each = 0; each < config.numBrokers(); each++) ids.add(each);
            return ids;
        }

        /** Enough to count them. */
        @Override public Map<Integer, KafkaBroker> brokers() {
            Map<Integer, KafkaBroker> known = new HashMap<>();
            for (int each : brokerIds()) known.put(each, standIn(each));
            return known;
        }

        /** Brokers are in processes of their own. Some tests ask one whether it knows the others before they begin: all are ready by then. */
        private static KafkaBroker standIn(int id) {
            MetadataCache cache = answering(MetadataCache.class, "getAliveBrokerNodes", List.of(new Node(id, "127.0.0.1", 0)));
            return answering(KafkaBroker.class, "metadataCache", cache);
        }

        private static <T> T answering(Class<T> type, String method, Object answer) {
            return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (self, called, arguments) -> {
                if (called.getName().equals(method)) return answer;
                throw new UnsupportedOperationException(called.getName() + " of a broker in another process");
            }));
        }

        @Override public Type type() { return Type.CO_KRAFT; }
        @Override public Map<Integer, KafkaBroker> aliveBrokers() { return Map.of(); }
        @Override public Set<GroupProtocol> supportedGroupProtocols() { return Set.of(GroupProtocol.CLASSIC, GroupProtocol.CONSUMER); }
        @Override public Map<Integer, ControllerServer> controllers() { return Map.of(); }
        @Override public ClusterConfig config() { return config; }
        @Override public Set<Integer> controllerIds() { return brokerIds(); }
        @Override public ListenerName clientListener() { return config.brokerListenerName(); }
        @Override public ListenerName controllerListenerName() { return config.controllerListenerName(); }
        @Override public String bootstrapServers() { return bootstrap; }
        @Override public String bootstrapControllers() { return controllers; }
        @Override public Collection<SocketServer> controllerSocketServers() { return List.of(); }
        @Override public String clusterId() { return id; }
        @Override public Optional<FaultHandlerException> firstFatalException() { return Optional.empty(); }
        @Override public Optional<FaultHandlerException> firstNonFatalException() { return Optional.empty(); }
        @Override public boolean started() { return started; }
        @Override public boolean stopped() { return stopped; }
    }

    @ClusterTestDefaults
    private static final class Defaults { }

    /** As Kafka's extension of JUnit reads the annotations. */
    static ClusterConfig configuration(ClusterTest test, ClusterTestDefaults defaults) {
        Map<String, String> shared = new HashMap<>();
        Map<Integer, Map<String, String>> each = new HashMap<>();
        List<ClusterConfigProperty> properties = new ArrayList<>(Arrays.asList(defaults.serverProperties()));
        properties.addAll(Arrays.asList(test.serverProperties()));
        for (ClusterConfigProperty one : properties) {
            Map<String, String> target = one.id() == -1 ? shared : each.computeIfAbsent(one.id(), id -> new HashMap<>());
            target.put(one.key(), one.value());
        }
        return ClusterConfig.defaultBuilder()
            .setBrokers(test.brokers() == 0 ? defaults.brokers() : test.brokers())
            .setAutoStart(test.autoStart() == AutoStart.DEFAULT ? defaults.autoStart() : test.autoStart() == AutoStart.YES)
            .setBrokerSecurityProtocol(test.brokerSecurityProtocol()).setBrokerListenerName(ListenerName.normalised(test.brokerListener()))
            .setServerProperties(shared).setPerServerProperties(each).build();
    }

    static List<ClusterConfig> configurations(Class<?> type, Method method) throws ReflectiveOperationException {
        List<ClusterConfig> found = new ArrayList<>();
        ClusterTestDefaults defaults = type.getDeclaredAnnotation(ClusterTestDefaults.class);
        if (defaults == null) defaults = Defaults.class.getDeclaredAnnotation(ClusterTestDefaults.class);
        ClusterTemplate template = method.getDeclaredAnnotation(ClusterTemplate.class);
        if (template != null) {
            Method generator = type.getDeclaredMethod(template.value());
            generator.setAccessible(true);
            for (Object each : (List<?>) generator.invoke(null)) found.add((ClusterConfig) each);
        }
        ClusterTest one = method.getDeclaredAnnotation(ClusterTest.class);
        if (one != null) found.add(configuration(one, defaults));
        org.apache.kafka.common.test.api.ClusterTests many =
            method.getDeclaredAnnotation(org.apache.kafka.common.test.api.ClusterTests.class);
        if (many != null) for (ClusterTest each : many.value()) found.add(configuration(each, defaults));
        return found;
    }

    static void callAll(Object instance, Class<? extends Annotation> annotation, Nodes nodes) throws Throwable {
        for (Class<?> type = instance.getClass(); type != null; type = type.getSuperclass())
            for (Method method : type.getDeclaredMethods())
                if (method.isAnnotationPresent(annotation)) call(instance, method, nodes);
    }

    static void call(Object instance, Method method, Nodes nodes) throws Throwable {
        method.setAccessible(true);
        try {
            method.invoke(instance, method.getParameterCount() == 0 ? new Object[0] : new Object[] {nodes});
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    static void run(Class<?> type, Method method, ClusterConfig config) throws Throwable {
        Nodes nodes = new Nodes(config);
        FutureTask<Throwable> task = new FutureTask<>(() -> {
            try {
                if (config.isAutoStart()) nodes.start();
                var constructor = type.getDeclaredConstructors()[0];
                constructor.setAccessible(true);
                Object instance = constructor.newInstance(constructor.getParameterCount() == 0 ? new Object[0] : new Object[] {nodes});
                try {
                    callAll(instance, BeforeEach.class, nodes);
                    call(instance, method, nodes);
                } finally {
                    callAll(instance, AfterEach.class, nodes);
                }
                return null;
            } catch (Throwable error) {
                return error;
            }
        });
        Thread thread = new Thread(task, method.getName());
        thread.setDaemon(true);
        thread.start();
        try {
            Throwable error = task.get(TEST_SECONDS, TimeUnit.SECONDS);
            if (error != null) throw error;
        } catch (TimeoutException late) {
            AssertionError error = new AssertionError("not done within " + TEST_SECONDS + " s");
            error.setStackTrace(thread.getStackTrace());
            thread.interrupt();
            throw error;
        } finally {
            nodes.stop();
        }
    }

    /** Arguments: the class, and a part of the names of its methods. */
    public static void main(String[] arguments) throws Exception {
        Class<?> type = Class.forName(arguments[0]);
        String part = arguments.length > 1 ? arguments[1] : "";
        Method[] methods = type.getDeclaredMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        Set<String> excluded = new HashSet<>();
        ask(Map.of("do", "excluded")).forEach(each -> excluded.add(each.asText()));
        for (Method method : methods) {
            List<ClusterConfig> all = configurations(type, method);
            int number = 0;
            for (ClusterConfig config : all) {
                String name = type.getSimpleName() + "." + method.getName() + (all.size() > 1 ? "[" + number++ + "]" : "");
                if (!name.contains(part) || excluded.stream().anyMatch(name::startsWith)) continue;
                if (method.isAnnotationPresent(Disabled.class)) {
                    tell(name, "skipped", "disabled by its authors");
                    continue;
                }
                tell(name, "started", "");
                try {
                    run(type, method, config);
                    tell(name, "passed", "");
                } catch (Throwable error) {
                    java.io.StringWriter text = new java.io.StringWriter();
                    error.printStackTrace(new java.io.PrintWriter(text));
                    boolean skips = error.getClass().getSimpleName().equals("TestAbortedException");
                    tell(name, skips ? "skipped" : "failed", text.toString().substring(0, Math.min(3000, text.toString().length())));
                }
            }
        }
        System.exit(0);
    }
}
