package netif

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Firewall is the nftables tables `ip keepalived` and `ip6 keepalived`, with
// the sets and chains that keepalived 2.2.7 makes. They drop what is sent to
// and from addresses that accept nothing (no_accept), Neighbour Discovery
// excepted, and move IGMP and MLD reports from virtual interfaces to their
// parents: a switch that learnt a virtual router's MAC from a report would
// send the traffic to a backup.
//
// The kernel removes the tables when the process ends, however it ends
// (NFT_TABLE_F_OWNER, Linux 5.12; on an older one they are left by a crash).
type Firewall struct {
	log      *slog.Logger
	conn     *nfConn
	names    *interfaceTable
	name     string
	priority int
	owner    uint32 // flags of a table
	families [2]firewallFamily
}

// firewallFamily is one table. What it holds is empty while it does not exist.
type firewallFamily struct {
	nfTable
	exists  bool
	guards  bool
	parents map[uint32]uint32      // virtual interface to parent, by index
	blocked map[blockedAddress]int // how often
}

// blockedAddress has an interface only where the address is link-local.
type blockedAddress struct {
	addr  netip.Addr
	index uint32
}

// NewFirewall opens the socket and changes nothing. name and priority are
// nftables and nftables_priority.
func NewFirewall(name string, priority int, log *slog.Logger) (*Firewall, error) {
	c, err := dialNetfilter()
	if err != nil {
		return nil, err
	}
	names, err := openInterfaceTable()
	if err != nil {
		c.close()
		return nil, fmt.Errorf("opening a socket for interface queries: %w", err)
	}
	f := &Firewall{log: log, conn: c, names: names, name: name, priority: priority, owner: tableOwner}
	for i, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		f.families[i] = firewallFamily{nfTable: nfTable{family: family, name: name}, blocked: map[blockedAddress]int{}}
	}
	return f, nil
}

// tableOwner is NFT_TABLE_F_OWNER.
const tableOwner = 2

// Close removes the tables.
func (f *Firewall) Close() error {
	var errs []error
	for i := range f.families {
		if t := &f.families[i]; t.exists {
			errs = append(errs, f.conn.commit([]*nl.NetlinkRequest{t.remove()}))
			t.exists = false
		}
	}
	return errors.Join(append(errs, f.conn.close(), f.names.close())...)
}

// Set says for which virtual interfaces reports are moved, and of which
// families addresses may be blocked. A table that nothing needs is removed;
// one whose content changes is made anew, blocked addresses included, in one
// transaction. With the same content nothing is done.
func (f *Firewall) Set(virtuals []Virtual, guard4, guard6 bool) error {
	var errs []error
	for i, guards := range []bool{guard4, guard6} {
		t := &f.families[i]
		parents := map[uint32]uint32{}
		for _, v := range virtuals {
			if v.V6 != (t.family == unix.NFPROTO_IPV6) || v.Kind != MACVLAN {
				continue
			}
			own, err := f.names.index(v.Name)
			below, err2 := f.names.index(v.Parent)
			if err == nil && err2 == nil {
				parents[uint32(own)] = uint32(below)
			}
		}
		needed := guards || len(parents) > 0
		if needed == t.exists && guards == t.guards && maps.Equal(parents, t.parents) {
			continue
		}
		t.guards, t.parents = guards, parents
		if err := f.rebuild(t, needed); err != nil {
			errs = append(errs, fmt.Errorf("nftables table %s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

func (f *Firewall) rebuild(t *firewallFamily, needed bool) error {
	var all []*nl.NetlinkRequest
	if !t.exists {
		all = append(all, t.add(0)) // so that what a dead run left can be removed
	}
	all = append(all, t.remove())
	if needed {
		all = append(all, t.build(f.owner, f.priority)...)
	}
	err := f.conn.commit(all)
	if needed && f.owner != 0 && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)) {
		f.owner = 0 // a kernel that does not know the flag
		return f.rebuild(t, needed)
	}
	if err == nil {
		t.exists = needed
	}
	return err
}

// Block drops what is sent to and from addresses. Those of a family that Set
// does not guard are only remembered.
func (f *Firewall) Block(addrs []Address) error { return f.change(addrs, 1) }

// Unblock ends that. An address that was blocked twice stays blocked.
func (f *Firewall) Unblock(addrs []Address) error { return f.change(addrs, -1) }

func (f *Firewall) change(addrs []Address, by int) error {
	var lists [2][]blockedAddress
	for _, a := range addrs {
		which := 0
		if a.Prefix.Addr().Is6() {
			which = 1
		}
		key := blockedAddress{addr: a.Prefix.Addr()}
		if key.addr.IsLinkLocalUnicast() && which == 1 {
			index, err := f.names.index(a.Dev)
			if err != nil {
				continue
			}
			key.index = uint32(index)
		}
		blocked := f.families[which].blocked
		before := blocked[key]
		blocked[key] = max(before+by, 0)
		if blocked[key] == 0 {
			delete(blocked, key)
		}
		if before == 0 || before == 1 && by < 0 {
			lists[which] = append(lists[which], key)
		}
	}
	kind := unix.NFT_MSG_NEWSETELEM
	if by < 0 {
		kind = unix.NFT_MSG_DELSETELEM
	}
	var errs []error
	for i, keys := range lists {
		t := &f.families[i]
		if all := t.members(kind, keys); t.guards && t.exists && len(all) > 0 {
			if err := f.conn.commit(all); err != nil && !(by < 0 && absent(err)) {
				errs = append(errs, fmt.Errorf("nftables table %s: changing the blocked addresses: %w", f.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// elementsAtOnce keeps a message below 64 KiB, the most a nested attribute can
// hold.
const elementsAtOnce = 500

// members are the messages that add or remove blocked addresses.
func (t *firewallFamily) members(kind int, keys []blockedAddress) []*nl.NetlinkRequest {
	sets := map[string][]nfElement{}
	for _, k := range keys {
		if k.index != 0 {
			key := binary.NativeEndian.AppendUint32(k.addr.AsSlice(), k.index)
			sets["vips_link_local"] = append(sets["vips_link_local"], nfElement{key: key})
			continue
		}
		sets["vips"] = append(sets["vips"], nfElement{key: k.addr.AsSlice()})
	}
	var out []*nl.NetlinkRequest
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		for part := range slices.Chunk(sets[name], elementsAtOnce) {
			out = append(out, t.elements(kind, name, part))
		}
	}
	return out
}

// build are the messages that make the table whole.
func (t *firewallFamily) build(owner uint32, priority int) []*nl.NetlinkRequest {
	six := t.family == unix.NFPROTO_IPV6
	t.sets = 0
	all := []*nl.NetlinkRequest{t.add(owner)}
	if len(t.parents) > 0 {
		all = append(all, t.reportSets(six)...)
	}
	if t.guards {
		all = append(all, t.guardSets(six)...)
	}
	all = append(all, t.chain("out", &nfHook{unix.NF_INET_LOCAL_OUT, priority}))
	if t.guards {
		all = append(all, t.chain("in", &nfHook{unix.NF_INET_LOCAL_IN, priority}))
		if six {
			all = append(all, t.chain("in_link_local", nil), t.chain("out_link_local", nil))
		}
	}
	if len(t.parents) > 0 {
		all = append(all, t.reportRules(six)...)
	}
	if t.guards {
		all = append(all, t.guardRules(six)...)
		keys := slices.SortedFunc(maps.Keys(t.blocked), func(a, b blockedAddress) int {
			return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.index, b.index))
		})
		all = append(all, t.members(unix.NFT_MSG_NEWSETELEM, keys)...)
	}
	return all
}

func (t *firewallFamily) reportSets(six bool) []*nl.NetlinkRequest {
	var pairs, own []nfElement
	for _, v := range slices.Sorted(maps.Keys(t.parents)) {
		key := binary.NativeEndian.AppendUint32(nil, v)
		pairs = append(pairs, nfElement{key, binary.NativeEndian.AppendUint32(nil, t.parents[v])})
		own = append(own, nfElement{key: key})
	}
	all := []*nl.NetlinkRequest{
		t.set(nfSet{name: "vmac_map", keyType: nfInterface, keyLen: 4, dataType: nfInterface, dataLen: 4, flags: unix.NFT_SET_MAP}),
		t.elements(unix.NFT_MSG_NEWSETELEM, "vmac_map", pairs),
	}
	if six {
		all = append(all, t.set(nfSet{name: "vmac_set", keyType: nfInterface, keyLen: 4}),
			t.elements(unix.NFT_MSG_NEWSETELEM, "vmac_set", own))
	}
	return all
}

// metaOIFKind is NFT_META_OIFKIND, the kind of the output interface in 16
// bytes.
const metaOIFKind = 27

var macvlanKind = append([]byte(MACVLAN), make([]byte, 16-len(MACVLAN))...)

// reportRules move IGMP and MLDv2 reports, and drop Router Solicitations.
func (t *firewallFamily) reportRules(six bool) []*nl.NetlinkRequest {
	if !six {
		return []*nl.NetlinkRequest{t.rule("out", nfPayload(unix.NFT_PAYLOAD_NETWORK_HEADER, 9, 1), nfEqual([]byte{unix.IPPROTO_IGMP}),
			nfMeta(metaOIFKind, reg1), nfEqual(macvlanKind), nfPayload(unix.NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
			nfMeta(unix.NFT_META_OIF, reg2), nfMap("vmac_map"), nfDuplicate(), nfVerdict(nfDrop, ""))}
	}
	const reportV2, routerSolicitation = 143, 133 // RFC 3810, RFC 4861
	report := append(icmpv6(nfEqual([]byte{reportV2})), nfMeta(metaOIFKind, reg1), nfEqual(macvlanKind),
		nfPayload(unix.NFT_PAYLOAD_NETWORK_HEADER, 24, 16), nfMeta(unix.NFT_META_OIF, reg2), nfMap("vmac_map"), nfDuplicate(), nfVerdict(nfDrop, ""))
	solicit := append(icmpv6(nfEqual([]byte{routerSolicitation})), nfMeta(metaOIFKind, reg1), nfEqual(macvlanKind),
		nfMeta(unix.NFT_META_OIF, reg1), nfLookup("vmac_set"), nfVerdict(nfDrop, ""))
	return []*nl.NetlinkRequest{t.rule("out", report...), t.rule("out", solicit...)}
}

// icmpv6 puts the type of an ICMPv6 message into register 1, for what follows.
func icmpv6(test *nl.RtAttr) []*nl.RtAttr {
	return []*nl.RtAttr{
		nfMeta(unix.NFT_META_L4PROTO, reg1), nfEqual([]byte{unix.IPPROTO_ICMPV6}),
		nfPayload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1), test,
	}
}

func (t *firewallFamily) guardSets(six bool) []*nl.NetlinkRequest {
	if !six {
		return []*nl.NetlinkRequest{t.set(nfSet{name: "vips", keyType: nfIPv4, keyLen: 4})}
	}
	const solicitation, advertisement = 135, 136 // RFC 4861
	return []*nl.NetlinkRequest{
		t.set(nfSet{name: "vips", keyType: nfIPv6, keyLen: 16}),
		t.set(nfSet{name: "neighbor-discovery", keyType: nfICMPv6, keyLen: 1, flags: unix.NFT_SET_CONSTANT}),
		t.elements(unix.NFT_MSG_NEWSETELEM, "neighbor-discovery", []nfElement{{key: []byte{solicitation}}, {key: []byte{advertisement}}}),
		t.set(nfSet{name: "vips_link_local", keyType: nfIPv6<<6 | nfInterface, keyLen: 20}),
	}
}

// guardRules drop what goes to (in) and comes from (out) a blocked address.
func (t *firewallFamily) guardRules(six bool) []*nl.NetlinkRequest {
	const network = unix.NFT_PAYLOAD_NETWORK_HEADER
	drop := nfVerdict(nfDrop, "")
	if !six {
		return []*nl.NetlinkRequest{
			t.rule("out", nfPayload(network, 12, 4), nfLookup("vips"), drop),
			t.rule("in", nfPayload(network, 16, 4), nfLookup("vips"), drop),
		}
	}
	linkLocal := append([]byte{0xfe, 0x80}, make([]byte, 14)...)
	ten := append([]byte{0xff, 0xc0}, make([]byte, 14)...)
	var all []*nl.NetlinkRequest
	for _, c := range []struct {
		name   string
		offset uint32
		iface  uint32
	}{{"out", 8, unix.NFT_META_OIF}, {"in", 24, unix.NFT_META_IIF}} {
		addr := nfPayload(network, c.offset, 16)
		all = append(all,
			t.rule(c.name, append(icmpv6(nfLookup("neighbor-discovery")), nfVerdict(nfAccept, ""))...),
			t.rule(c.name, addr, nfMask(ten), nfEqual(linkLocal), nfVerdict(unix.NFT_GOTO, c.name+"_link_local")),
			t.rule(c.name, addr, nfLookup("vips"), drop),
			t.rule(c.name+"_link_local", addr, nfMeta(c.iface, reg2), nfLookup("vips_link_local"), drop))
	}
	return all
}
