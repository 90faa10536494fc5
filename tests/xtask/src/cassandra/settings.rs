//! What Cassandra is told: its settings file, its log's, the flags of its Java, and Maven's wish list. All texts, nothing is done here.

use std::path::Path;

pub(super) const CQL_PORT: u16 = 9042;
pub(super) const GOSSIP_PORT: u16 = 7000;

/// Memory of one node's heap; the rest of a node takes about as much again.
const HEAP: &str = "-Xmx512m";

/// Tokens that share the ring evenly among three nodes.
const TOKENS: [&str; 3] = ["-9223372036854775808", "-3074457345618258603", "3074457345618258602"];

pub(super) const LOGBACK: &str = "\
<configuration>
  <appender name=\"OUT\" class=\"ch.qos.logback.core.ConsoleAppender\">
    <encoder><pattern>%-5level %d{HH:mm:ss.SSS} [%thread] %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level=\"INFO\"><appender-ref ref=\"OUT\"/></root>
</configuration>
";

/// Packages that Cassandra needs opened on Java 17; harmless on 11.
const EXPORTS: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
];
const OPENS: [&str; 14] = [
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
    "jdk.compiler/com.sun.tools.javac",
];

/// Flags that make a node small, quick to start and quick to stop.
const FLAGS: [&str; 18] = [
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Djava.awt.headless=true",
    // What is committed is locked into memory: little at first.
    "-Xms128m",
    HEAP,
    "-XX:MaxDirectMemorySize=512m",
    "-XX:+UseSerialGC",
    // A node of a test lives for minutes; the second compiler would only take its processor away.
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:+PerfDisableSharedMem",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=100",
    "-Dcassandra.superuser_setup_delay_ms=0",
    // Else the cost of a memtable's row is measured for seconds, and a stop announces itself for as long.
    "-Dcassandra.memtable.row_overhead_size=180",
    "-Dcassandra.shutdown_announce_in_ms=0",
    "-Dcassandra.test.messagingService.nonGracefulShutdown=true",
];

/// All of Java's arguments before the class to run.
pub(super) fn flags(home: &Path, lib: &Path) -> Result<Vec<String>, String> {
    let mut flags = Vec::new();
    for (option, packages) in [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])] {
        flags.extend(packages.iter().flat_map(|package| [option.to_owned(), format!("{package}=ALL-UNNAMED")]));
    }
    flags.extend(FLAGS.map(str::to_owned));
    let home = home.display();
    flags.push(format!("-Dcassandra.config=file://{home}/cassandra.yaml"));
    flags.push(format!("-Dcassandra.storagedir={home}"));
    flags.push(format!("-Dlogback.configurationFile=file://{home}/logback.xml"));
    let listed = std::fs::read_dir(lib).map_err(|error| format!("{}: {error}", lib.display()))?;
    let jars = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let mut jars: Vec<String> = jars.map(|jar| jar.display().to_string()).filter(|jar| jar.ends_with(".jar")).collect();
    jars.sort();
    flags.extend(["-cp".to_owned(), jars.join(":")]);
    Ok(flags)
}

/// A node's settings file.
pub(super) fn node(home: &Path, index: usize, addresses: &[String]) -> String {
    let home = home.display();
    let address = addresses.get(index).map_or("", String::as_str);
    let token = if addresses.len() == 1 { "0" } else { TOKENS.get(index).copied().unwrap_or("0") };
    let seeds: Vec<String> = addresses.iter().map(|address| format!("{address}:{GOSSIP_PORT}")).collect();
    let seeds = seeds.join(",");
    format!(
        "\
cluster_name: tests
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
num_tokens: 1
initial_token: \"{token}\"
auto_bootstrap: false
listen_address: {address}
rpc_address: {address}
storage_port: {GOSSIP_PORT}
native_transport_port: {CQL_PORT}
start_native_transport: true
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: \"{seeds}\"
data_file_directories: [\"{home}/data\"]
commitlog_directory: {home}/commitlog
hints_directory: {home}/hints
saved_caches_directory: {home}/saved_caches
cdc_raw_directory: {home}/cdc_raw
commitlog_sync: batch
commitlog_segment_size: 32MiB
commitlog_total_space: 256MiB
paxos_variant: v2
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: offheap_buffers
file_cache_size: 32MiB
networking_cache_size: 32MiB
key_cache_size: 4MiB
counter_cache_size: 0MiB
concurrent_reads: 8
concurrent_writes: 16
concurrent_compactors: 1
compaction_throughput: 0MiB/s
auto_snapshot: false
incremental_backups: false
snapshot_before_compaction: false
hinted_handoff_enabled: true
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
"
    )
}

/// What Maven is to fetch.
pub(super) fn pom(version: &str) -> String {
    format!(
        "\
<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test.local</groupId>
  <artifactId>cassandra-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
</project>
"
    )
}
