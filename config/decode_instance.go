package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func beginInstance(d *decoder, s *stmt) {
	d.inst = &Instance{Block: Block{Pos: s.key.Pos}}
	if len(s.args) == 0 {
		d.fail(s, "must have a name", "vrrp_instance NAME { ... }")
		d.skip = true
		return
	}
	t := s.args[0]
	if first, ok := d.define("vrrp_instance", t); !ok {
		d.fail(s, fmt.Sprintf("%s is already defined", t.Text), "first defined at "+first.String())
		d.skip = true
		return
	}
	d.inst.Name = t.Text
	d.inst.UnicastTTL = -1
	d.inst.Accept = true
	d.opened = &d.inst.Block
	d.cfg.Instances = append(d.cfg.Instances, d.inst)
}

func state(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	switch t.Text {
	case "MASTER":
		d.inst.State = Master
	case "BACKUP":
		d.inst.State = Backup
	default:
		d.failAt(s, t, fmt.Sprintf("%q is unknown, taken as BACKUP", printable(t.Text)), "MASTER or BACKUP")
		d.inst.State = Backup
	}
}

func authType(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	switch t.Text {
	case "PASS":
		d.inst.Auth.Type = AuthPass
	case "AH":
		d.inst.Auth.Type = AuthAH
	default:
		d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "PASS or AH")
	}
}

func authPass(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	pass := t.Text
	if len(pass) > 8 {
		d.problemAt(t.Pos, Warning, General, s.kw.Name, "is longer than 8 characters, the rest is ignored", "VRRP carries 8 bytes; keepalived cuts it as well, so peers still agree")
		pass = pass[:8]
	}
	d.inst.Auth.Pass = pass
}

// sourceIP reads an address that must fit the instance's family.
func sourceIP(f field[netip.Addr]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		a, ok := d.address(s, t, 0)
		if !ok || !d.sameFamily(s, t, a) {
			return
		}
		*f(d) = a
	}
}

// sameFamily settles the instance's family by its first address.
func (d *decoder) sameFamily(s *stmt, t Token, a netip.Addr) bool {
	fam := familyOf(a)
	if d.inst.Family == FamilyUnset {
		d.inst.Family = fam
	}
	if d.inst.Family != fam {
		d.failAt(s, t, fmt.Sprintf("%s is not an IPv%d address, as the instance's others are; ignored", a, d.inst.Family), "use a second vrrp_instance for the other family, or virtual_ipaddress_excluded")
		return false
	}
	return true
}

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

func beginUnicastPeer(d *decoder, _ *stmt) { d.inst.Unicast = true }

func unicastPeer(d *decoder, l *stmt) {
	if host, _, masked := strings.Cut(l.key.Text, "/"); masked {
		d.advise(l, "a peer is one address, the length is ignored", host)
		l.key.Text = host
	}
	a, ok := d.address(l, l.key, 0)
	if !ok || !d.sameFamily(l, l.key, a) {
		return
	}
	p := UnicastPeer{Addr: a, MaxTTL: 255, Pos: l.key.Pos}
	for i := 0; i < len(l.args); i += 2 {
		word := l.args[i]
		var v *int
		switch word.Text {
		case "min_ttl":
			v = &p.MinTTL
		case "max_ttl":
			v = &p.MaxTTL
		default:
			d.failAt(l, word, fmt.Sprintf("%q is unknown", printable(word.Text)), "min_ttl N or max_ttl N")
			return
		}
		t, ok := d.need(l, i+1)
		if !ok {
			return
		}
		if n, ok := d.number(l, t, 0, 255); ok {
			*v, p.HasTTL = int(n), true
		}
	}
	if p.MinTTL > p.MaxTTL {
		d.fail(l, fmt.Sprintf("min_ttl %d is above max_ttl %d", p.MinTTL, p.MaxTTL), "")
	}
	if slices.ContainsFunc(d.inst.UnicastPeers, func(o UnicastPeer) bool { return o.Addr == a }) {
		d.advise(l, fmt.Sprintf("%s is given twice", a), "")
		return
	}
	d.inst.UnicastPeers = append(d.inst.UnicastPeers, p)
}

func useVMAC(d *decoder, s *stmt) {
	v := &VMAC{}
	d.inst.VMAC = v
	for i := 0; i < len(s.args); i++ {
		switch t := s.args[i]; {
		case t.Text == "name" || t.Text == "group":
			i++
			n, ok := d.need(s, i)
			if !ok {
				return
			}
			if t.Text == "name" {
				v.Name = n.Text
			} else {
				v.Group = n.Text
			}
		case t.Text == "netlink_notify_msg":
			v.NetlinkNotify = true
		case strings.Count(t.Text, ":") >= 4:
			v.MAC = t.Text
		case v.Name == "" && len(t.Text) < 16:
			v.Name = t.Text
		case len(t.Text) >= 16:
			d.failAt(s, t, "interface name is too long", "at most 15 characters")
		default:
			d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), s.kw.Args)
		}
	}
}

func useIPVlan(d *decoder, s *stmt) {
	v := &VMAC{Mode: "bridge"}
	d.inst.IPVlan = v
	for i := 0; i < len(s.args); i++ {
		t := s.args[i]
		if p, err := parsePrefix(t.Text); err == nil {
			v.Addr = p
			continue
		}
		switch t.Text {
		case "bridge", "private", "vepa":
			v.Mode = t.Text
		case "name", "group":
			i++
			n, ok := d.need(s, i)
			if !ok {
				return
			}
			if t.Text == "name" {
				v.Name = n.Text
			} else {
				v.Group = n.Text
			}
		default:
			v.Name = t.Text
		}
	}
}

// hmacKeyText checks a key of auth_hmac; a file is looked at by who uses it.
func hmacKeyText(spec string) (problem string) {
	if strings.HasPrefix(spec, "file:") {
		return ""
	}
	n := len(spec)
	if digits, ok := strings.CutPrefix(spec, "hex:"); ok {
		for i := range len(digits) {
			if hexDigit(digits[i]) < 0 {
				return "is not hexadecimal"
			}
		}
		if len(digits)%2 != 0 {
			return "has an odd number of hexadecimal digits"
		}
		n = len(digits) / 2
	}
	if n < 32 || n > 64 {
		return fmt.Sprintf("has %d bytes", n)
	}
	return ""
}

func nativeIPv6(d *decoder, s *stmt) {
	if d.inst.Family == IPv4 {
		d.fail(s, "stands after IPv4 addresses", "put it first, or remove it")
		return
	}
	d.inst.NativeIPv6, d.inst.Family = true, IPv6
}

func vrfArg(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	switch {
	case !ok:
	case d.inst.Interface != "":
		d.fail(s, "does not go with interface, it is ignored", "give one of them")
	case d.iface(s, t):
		d.inst.VRF = t.Text
	}
}

func oldChecksum(d *decoder, s *stmt) {
	d.inst.OldUnicastChecksum = ChecksumAlways
	if len(s.args) == 0 {
		return
	}
	if s.args[0].Text != "never" {
		d.failAt(s, s.args[0], fmt.Sprintf("%q is unknown", printable(s.args[0].Text)), "never or nothing")
		return
	}
	d.inst.OldUnicastChecksum = ChecksumNever
}

func debugLevel(d *decoder, s *stmt) {
	if len(s.args) == 0 {
		d.need(s, 0)
		return
	}
	if n, ok := d.number(s, s.args[0], 0, 4); ok {
		d.inst.Debug = int(n)
	}
}

func notifyDeleted(d *decoder, s *stmt) {
	if len(s.args) == 0 {
		d.inst.Notify.DeletedBare = true
		return
	}
	script(in(func(i *Instance) **ScriptSpec { return &i.Notify.Deleted }))(d, s)
}

func smtpAlert(f field[bool]) setter { return boolean(f) }

func lvsSyncInterface(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	d.warn(s, "is deprecated", "use lvs_sync_daemon in global_defs")
	d.inst.LVSSyncInterface = t.Text
}

func timerExpired(d *decoder, s *stmt) {
	d.inst.TimerExpiredBackup = 254
	if len(s.args) > 0 {
		if n, ok := d.number(s, s.args[0], 1, 254); ok {
			d.inst.TimerExpiredBackup = int(n)
		}
	}
}

func beginHMAC(d *decoder, _ *stmt) {
	d.inst.HMAC = &HMAC{AntiReplay: "time", Mode: "enforce"}
	keepBlock(d, nil)
}

func hmacKey(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	v, ok := d.need(s, 1)
	if !ok {
		return
	}
	if problem := hmacKeyText(v.Text); problem != "" {
		d.problemAt(v.Pos, Error, OursOnly, s.kw.Name, "the key "+problem+", it is ignored", "32 to 64 bytes: as characters, hex:DIGITS or file:PATH")
		return
	}
	if n, ok := d.number(s, t, 1, 255); ok {
		d.inst.HMAC.Keys = append(d.inst.HMAC.Keys, HMACKey{ID: int(n), Spec: v.Text, Pos: s.key.Pos})
	}
}

func endHMAC(d *decoder) {
	h := d.inst.HMAC
	known := slices.ContainsFunc(h.Keys, func(k HMACKey) bool { return k.ID == h.ActiveKey })
	if !known {
		d.problemAt(d.top().pos, Error, OursOnly, "auth_hmac", fmt.Sprintf("active_key %d is not defined, the extension is off", h.ActiveKey), "add a key line with that id")
	}
	if d.inst.Has("authentication") {
		d.problemAt(d.top().pos, Error, OursOnly, "auth_hmac", "excludes authentication", "keep one of the two")
	}
}

func beginSyncGroup(d *decoder, s *stmt) {
	d.group = &SyncGroup{Block: Block{Pos: s.key.Pos}}
	t, ok := d.need(s, 0)
	if !ok {
		d.group, d.skip = nil, true
		return
	}
	if first, ok := d.define("vrrp_sync_group", t); !ok {
		d.fail(s, fmt.Sprintf("%s is already defined", t.Text), "first defined at "+first.String())
		d.group, d.skip = nil, true
		return
	}
	d.group.Name = t.Text
	d.opened = &d.group.Block
	d.cfg.SyncGroups = append(d.cfg.SyncGroups, d.group)
}

func endSyncGroup(d *decoder) { d.group = nil }

func beginMembers(d *decoder, _ *stmt) { d.lineCount = 0 }

func endMembers(d *decoder) {
	if d.lineCount == 0 {
		d.problemAt(d.closed, Warning, General, "group", "the block is empty", "name the vrrp_instances, one per line")
	}
}

func groupMember(d *decoder, l *stmt) {
	d.lineCount++
	d.group.Members = append(d.group.Members, refs(l)...)
}

func globalTracking(d *decoder, s *stmt) {
	d.warn(s, "is deprecated", "use track_interface, track_script and so on inside the group")
	d.group.GlobalTracking = true
}
