package veto

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// Verdict is what the machine makes of a silent LAN.
type Verdict uint8

// The verdicts. Vetoed to Waiting keep a Backup where it is; Wedged to
// NoAnswer take over.
const (
	Unneeded        Verdict = iota // adverts are heard on the LAN, or nothing is asked yet
	Vetoed                         // the holder holds
	Mute                           // the holder holds, its address is silent on the LAN
	Deaf                           // the holder holds, and nothing on the LAN answers us
	TwoHolders                     // two members say that they hold
	Waiting                        // the former holder is the better candidate: one interval for it
	Wedged                         // holding, but its last advert is older than 2A
	Unfit                          // the holder is in FAULT, INIT or STOP
	Lapsed                         // the holder does not hold any more
	UnknownInstance                // the holder does not know the instance
	Yielded                        // the holder let go after it was told that nobody hears it
	NoReply                        // the holder did not reply to "unheard"
	NoAnswer                       // the holder did not answer
)

var verdictNames = [...]string{
	Unneeded: "", Vetoed: "vetoed", Mute: "mute", Deaf: "deaf",
	TwoHolders: "two holders", Waiting: "waiting", Wedged: "wedged",
	Unfit: "unfit", Lapsed: "lapsed", UnknownInstance: "unknown instance",
	Yielded: "yielded", NoReply: "no reply", NoAnswer: "no answer",
}

// String returns the word for status and events, empty for Unneeded.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

// TakesOver reports whether the verdict lets a Backup take over.
func (v Verdict) TakesOver() bool { return v >= Wedged }

func (v Verdict) reason() string {
	switch v {
	case Wedged:
		return "the holder's adverts are older than two intervals"
	case Unfit:
		return "the holder is not fit"
	case Lapsed:
		return "the holder does not hold any more"
	case UnknownInstance:
		return "the holder does not know this instance"
	case Yielded:
		return "the holder let go: nobody hears it"
	case NoReply:
		return "the holder's address is silent and it did not reply"
	case NoAnswer:
		return "no answer from the holder"
	case Unneeded, Vetoed, Mute, Deaf, TwoHolders, Waiting:
	}
	return v.String()
}

// LANEvidence is what the LAN answered.
type LANEvidence uint8

// The evidence. NoEvidence: probing is off, impossible or useless here, so the
// holder's word counts.
const (
	NoEvidence LANEvidence = iota
	VIPAnswers
	NeighbourAnswers // and the address does not
	NothingAnswers
)

// String says it for people.
func (e LANEvidence) String() string {
	switch e {
	case NoEvidence:
		return "no LAN evidence"
	case VIPAnswers:
		return "the address answers on the LAN"
	case NeighbourAnswers:
		return "the address is silent, a neighbour answers"
	case NothingAnswers:
		return "nothing answers on the LAN"
	}
	return "unknown"
}

// Direction says whose fault a lost advert is, by who hears whom.
type Direction uint8

// The directions. OneWay: no third member could be compared with.
const (
	OneWay Direction = iota
	DeafToHolder
	MuteHolder
)

// Detail explains the verdict to status and explain.
type Detail struct {
	Holder    NodeID // zero where no member is known to hold
	Since     vrrp.Instant
	LANSilent time.Duration // since the last advert on the LAN, or since listening began
	Evidence  LANEvidence
	Direction Direction
	Insists   bool // the holder was told and stays
	Shut      bool // the own side: shut because nobody hears it
	Last      Verdict
	LastAt    vrrp.Instant // when the last verdict that took over fell
}

// AlarmKind says what an Alarm is about.
type AlarmKind uint8

// The alarms.
const (
	DirectionAlarm    AlarmKind = iota // adverts are lost one way: Direction says which
	DeafAlarm                          // nothing on the LAN answers this node
	InsistsAlarm                       // a mute holder insists
	TwoHoldersAlarm                    // Node and Other both hold
	ConfigDiffers                      // Node knows no such instance, or other addresses
	HolderUnreachable                  // Node's adverts arrive on the mesh, its answers do not
	ForeignRouter                      // an advert from an address of no member
	ShutAlarm                          // this node shut: nobody hears its address
)

// Alarm reports something that an operator must see, once per occurrence.
type Alarm struct {
	Kind      AlarmKind
	Self      NodeID
	Node      NodeID
	Other     NodeID
	Direction Direction
	Address   netip.Addr
}

// Text says it for people; name gives a node's name.
func (a *Alarm) Text(name func(NodeID) string) string {
	self, node := name(a.Self), name(a.Node)
	switch a.Kind {
	case DirectionAlarm:
		switch a.Direction {
		case DeafToHolder:
			return fmt.Sprintf("one-way VRRP loss %s -> %s: %s does not hear %s's adverts (deaf to %s), others do", node, self, self, node, node)
		case MuteHolder:
			return fmt.Sprintf("%s is mute: no member hears its adverts on the LAN, but it holds", node)
		case OneWay:
		}
		return fmt.Sprintf("one-way VRRP loss %s -> %s: %s is mute or %s is deaf to it, no third member can tell", node, self, node, self)
	case DeafAlarm:
		return fmt.Sprintf("%s is deaf: nothing answers on its LAN, while %s holds", self, node)
	case InsistsAlarm:
		return fmt.Sprintf("%s insists: %s finds its address silent on the LAN, %s's own LAN test passes", node, self, node)
	case TwoHoldersAlarm:
		return fmt.Sprintf("two holders: %s and %s", node, name(a.Other))
	case ConfigDiffers:
		return fmt.Sprintf("configurations differ: %s does not know this instance, or has other addresses for its virtual_router_id; compare the files", node)
	case HolderUnreachable:
		return fmt.Sprintf("%s's adverts arrive on the mesh but it does not answer %s: check UDP %s -> %s", node, self, self, node)
	case ForeignRouter:
		return fmt.Sprintf("advert from a non-member: %s", a.Address)
	case ShutAlarm:
		return fmt.Sprintf("%s shut: its address is silent on the LAN (told by %s)", self, node)
	}
	return "unknown alarm"
}
