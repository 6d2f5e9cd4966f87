package config

import (
	"fmt"
	"slices"
)

// loadInterfaces asks once which interfaces exist.
func (d *decoder) loadInterfaces() {
	if d.opt.Interfaces == nil {
		return
	}
	names, err := d.opt.Interfaces()
	if err != nil {
		return
	}
	d.ifaces = map[string]bool{}
	for _, n := range names {
		d.ifaces[n] = true
	}
}

// iface checks that an interface named on a line exists; false when the line
// must be dropped, which dynamic_interfaces prevents.
func (d *decoder) iface(l *stmt, t Token) bool {
	if d.ifaces == nil || d.ifaces[t.Text] || d.cfg.Global.DynamicInterfaces != DynamicOff {
		return true
	}
	d.failAt(l, t, fmt.Sprintf("there is no interface %s", printable(t.Text)), d.ifaceHint(t.Text))
	return true
}

func (d *decoder) ifaceHint(name string) string {
	if hint := nearest(name, d.ifaces); hint != "" {
		return hint
	}
	var have []string
	for n := range d.ifaces {
		have = append(have, n)
	}
	slices.Sort(have)
	if len(have) > 8 {
		have = append(have[:8], "...")
	}
	return fmt.Sprintf("this host has %v; or set dynamic_interfaces", have)
}

// user checks that a user and a group exist.
func (d *decoder) user(s *stmt, t Token, group string) bool {
	if d.opt.User == nil {
		return true
	}
	if err := d.opt.User(t.Text, group); err != nil {
		d.failAt(s, t, err.Error(), "create it, or name another")
		return false
	}
	return true
}

func (d *decoder) check() {}
