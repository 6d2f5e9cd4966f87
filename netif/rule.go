package netif

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Rule is one policy routing rule. Its zero fields select everything; the
// protocol is always keepalived's.
type Rule struct {
	V6       bool         // family, where neither From nor To tells it
	Not      bool         // invert the selection
	From, To netip.Prefix // the zero Prefix: any
	IIF, OIF string       // interface names, which need not exist
	TOS      int          // 0 to 255
	Mark     uint32       // with Mask 0: compared as a whole; both 0: not compared
	Mask     uint32
	Priority int // lower is asked first
	Action   int // FR_ACT_*, 0 is FR_ACT_TO_TBL
	Table    int // for FR_ACT_TO_TBL
	Goto     int // for FR_ACT_GOTO: a priority above this rule's
	// SuppressPrefix ignores what the table has with a prefix of this length
	// or shorter, where HasSuppressPrefix is set.
	SuppressPrefix    int
	HasSuppressPrefix bool
	Selector
}

// String returns the rule as `ip rule` writes it, as far as it identifies.
func (r Rule) String() string {
	s := fmt.Sprintf("%d: from %s", r.Priority, anyOr(r.From))
	if r.To.IsValid() {
		s += " to " + r.To.String()
	}
	return s
}

func anyOr(p netip.Prefix) string {
	if !p.IsValid() {
		return "all"
	}
	return p.String()
}

// AddRules adds rules in the given order and returns one error per rule. A rule
// that exists is success.
func (k *Kernel) AddRules(rules []Rule) []error {
	reqs := make([]*nl.NetlinkRequest, len(rules))
	for i, r := range rules {
		reqs[i] = r.request(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	}
	errs := k.batch.run(reqs)
	for i, err := range errs {
		switch {
		case errors.Is(err, unix.EEXIST):
			errs[i] = nil
		case err != nil:
			errs[i] = fmt.Errorf("adding rule %s: %w", rules[i], err)
		}
	}
	return errs
}

// DelRules removes rules and returns one error per rule. A rule that is absent
// is success.
func (k *Kernel) DelRules(rules []Rule) []error {
	_, errs := k.delRules(rules)
	return errs
}

func (k *Kernel) delRules(rules []Rule) (removed int, errs []error) {
	reqs := make([]*nl.NetlinkRequest, len(rules))
	for i, r := range rules {
		reqs[i] = r.request(unix.RTM_DELRULE, 0)
	}
	errs = k.batch.run(reqs)
	for i, err := range errs {
		switch {
		case err == nil:
			removed++
		case absent(err):
			errs[i] = nil
		default:
			errs[i] = fmt.Errorf("removing rule %s: %w", rules[i], err)
		}
	}
	return removed, errs
}

// canonical returns the rule with what the kernel fills in.
func (r Rule) canonical() Rule {
	r.From, r.To = r.From.Masked(), r.To.Masked()
	r.V6 = r.V6 || r.From.Addr().Is6() || r.To.Addr().Is6()
	if r.Action == 0 {
		r.Action = unix.FR_ACT_TO_TBL
	}
	if r.Mask == 0 && r.Mark != 0 {
		r.Mask = ^uint32(0)
	}
	if !r.HasSuppressPrefix {
		r.SuppressPrefix = 0
	}
	return r
}

// request builds a message whose header, struct fib_rule_hdr, has the layout of
// struct rtmsg with the action in the place of the type.
func (r Rule) request(msgType, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(msgType, flags)
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Tos: uint8(r.TOS), Type: unix.FR_ACT_TO_TBL}}
	if r.canonical().V6 {
		msg.Family = unix.AF_INET6
	}
	if r.Action != 0 {
		msg.Type = uint8(r.Action)
	}
	if r.Not {
		msg.Flags |= unix.FIB_RULE_INVERT
	}
	req.AddData(msg)
	attr := func(typ int, value []byte) { req.AddData(nl.NewRtAttr(typ, value)) }
	if r.From.IsValid() {
		msg.Src_len = uint8(r.From.Bits())
		attr(unix.FRA_SRC, r.From.Masked().Addr().AsSlice())
	}
	if r.To.IsValid() {
		msg.Dst_len = uint8(r.To.Bits())
		attr(unix.FRA_DST, r.To.Masked().Addr().AsSlice())
	}
	attr(unix.FRA_PRIORITY, nl.Uint32Attr(uint32(r.Priority)))
	attr(unix.FRA_PROTOCOL, nl.Uint8Attr(ProtocolKeepalived))
	if r.IIF != "" {
		attr(unix.FRA_IIFNAME, nl.ZeroTerminated(r.IIF))
	}
	if r.OIF != "" {
		attr(unix.FRA_OIFNAME, nl.ZeroTerminated(r.OIF))
	}
	if r.Mark != 0 || r.Mask != 0 {
		attr(unix.FRA_FWMARK, nl.Uint32Attr(r.Mark))
	}
	if r.Mask != 0 {
		attr(unix.FRA_FWMASK, nl.Uint32Attr(r.Mask))
	}
	if r.Table != 0 {
		attr(unix.FRA_TABLE, nl.Uint32Attr(uint32(r.Table)))
	}
	if r.Goto != 0 {
		attr(unix.FRA_GOTO, nl.Uint32Attr(uint32(r.Goto)))
	}
	if r.HasSuppressPrefix {
		attr(unix.FRA_SUPPRESS_PREFIXLEN, nl.Uint32Attr(uint32(r.SuppressPrefix)))
	}
	r.encode(attr)
	return req
}
