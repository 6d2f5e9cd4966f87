// Package lab builds small networks of hosts inside one Linux machine, breaks
// them on purpose, and measures each millisecond who holds a floating address
// and whom a client reaches. The end-to-end tests, the benchmarks and
// `keepmesh demo` are written on it.
//
//	Lab ── switch host "sw": one bridge per switch, one port per interface
//	 │        ├─ faults by nftables and at ports       (Fault)
//	 │        └─ AF_PACKET sniffer: port -> host       (Sniffer, Capture)
//	 ├─ Host "n1": pid 1 of its own pid, mount, network, UTS and IPC namespace
//	 │        └─ Proc, Proc, ...  children of that pid 1
//	 └─ Host "client" ── Prober: ARP probe and ICMP echo each millisecond
//
// A host is held by one process, its init: this very binary, started again
// and caught by Main, which therefore has to be the first call of main or
// TestMain. Nothing is registered in /run/netns or anywhere else on the
// machine. An init dies with the process that built the lab, and takes all
// processes, mounts and interfaces of its host with it; so a panic or a kill
// -9 of a test leaves nothing behind but files in the temporary folder, which
// the next lab removes.
//
// An experiment looks like this:
//
//	l, err := lab.New(ctx, lab.Options{Name: "split"})
//	defer l.Close()
//	n1, err := l.Host(ctx, "n1", lab.HostOptions{Interfaces: []lab.Iface{{Name: "eth0", Addr: prefix}}})
//	daemon, err := n1.Keepalived(conf)
//	err = l.WaitHolders(ctx, vip, "n1")
//	prober, err := l.Probe(ctx, lab.ProbeOptions{Client: client, VIP: vip})
//	fault, err := l.DropProtocol(ctx, lab.ProtoVRRP, lab.Between("n1", "n2")...)
//	... time passes, fault.Hits() > 0, fault.Undo() ...
//	report, err := prober.Stop()
//	verdict := lab.Judge(report, lab.Bounds{MaxDualMS: 0, MaxNoneMS: 5000})
//
// Invariants:
//   - Nothing outside the lab's own namespaces and folder is changed, with
//     root or without (ReexecRootless gives an ordinary user the rights).
//   - A fault is in force when its function returns, or that function failed.
//   - All instants are nanoseconds of CLOCK_MONOTONIC (Now), in the sniffer,
//     the prober and the marks alike. Packets read from a capture file carry
//     wall-clock time, since that is what the file holds.
//   - Answers are attributed to a host by the switch port they came in by,
//     never by MAC address, which a virtual MAC would hide.
//
// All methods may be called from several goroutines at once, except that a
// Host must not be killed and booted concurrently.
package lab
