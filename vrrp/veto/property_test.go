package veto

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// Whatever comes in, in whatever order: WantHold is answered once and at once,
// the decision stands first, Shut stands before Yield, Deadline moves on.
func TestContractHoldsForAnyEvents(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 11))
		ids := []NodeID{lb1, lb2, {4}, {9}}
		m := New(Config{Self: lb3, Members: ids[:3], Interval: interv})
		now := start
		var nonces []uint64
		for n := range 3000 {
			ev := anyEvent(rng, ids, nonces)
			if _, ok := ev.(*Tick); ok {
				if d, ok := m.Deadline(); ok {
					now = max(now, d)
				}
			} else if rng.IntN(3) == 0 {
				now = now.Add(time.Duration(rng.IntN(1500)) * time.Millisecond)
			}
			if rng.IntN(300) == 0 {
				m.Reconfigure(Config{Self: lb3, Members: ids[:rng.IntN(4)], Interval: interv, DownAdverts: rng.IntN(4)})
			}
			out := m.Step(now, ev)
			checkContract(t, ev, out)
			for _, a := range out {
				switch a := a.(type) {
				case *Ask:
					nonces = append(nonces, a.Nonce)
				case *Probe:
					nonces = append(nonces, a.Round)
				case *TestLAN:
					nonces = append(nonces, a.Round)
				case *SendUnheard:
					nonces = append(nonces, a.Nonce)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d, event %d, %T %+v", seed, n, ev, ev)
			}
		}
		// Left alone, the machine lets the time pass.
		from := now
		for range 2000 {
			d, ok := m.Deadline()
			if !ok {
				break
			}
			now = max(now, d)
			m.Step(now, &Tick{})
		}
		if _, ok := m.Deadline(); ok && now.Sub(from) < 20*sec {
			t.Fatalf("seed %d: 2000 ticks in %v", seed, now.Sub(from))
		}
	}
}

func checkContract(t *testing.T, ev Event, out []Action) {
	t.Helper()
	answers, yielded := 0, false
	for i, a := range out {
		switch a.(type) {
		case *Permit, *Refuse:
			answers++
			if i != 0 {
				t.Errorf("%T is action %d", a, i)
			}
		case *Takeover:
			if i != 0 {
				t.Errorf("%T is action %d", a, i)
			}
		case *SendYield:
			yielded = true
		case *Shut:
			if yielded {
				t.Error("Shut after Yield")
			}
		}
	}
	want := 0
	if _, ok := ev.(*WantHold); ok {
		want = 1
	}
	if answers != want {
		t.Errorf("%d answers to the Router, want %d", answers, want)
	}
}

func anyEvent(rng *rand.Rand, ids []NodeID, nonces []uint64) Event {
	from := ids[rng.IntN(len(ids))]
	nonce := rng.Uint64N(4)
	if n := len(nonces); n > 0 && rng.IntN(5) > 0 {
		nonce = nonces[n-1-rng.IntN(min(n, 4))]
	}
	yes := func() bool { return rng.IntN(2) == 0 }
	age := time.Duration(rng.IntN(4000)-1) * time.Millisecond
	switch rng.IntN(20) {
	case 0:
		return &Self{State: vrrp.State(rng.IntN(5)), Priority: uint8(1 + rng.IntN(255)), Source: addr3}
	case 1:
		return &Timers{Interval: interv, Skew: time.Duration(rng.IntN(1000)) * time.Millisecond}
	case 2:
		return &AdvertSent{}
	case 3:
		return &Advert{Wire: vrrp.LAN, Source: addr1, Priority: uint8(rng.IntN(256))}
	case 4, 5:
		return &Advert{Wire: vrrp.Mesh, From: from, Source: addr1, Priority: uint8(rng.IntN(256))}
	case 6:
		return &FrameHeard{}
	case 7, 8:
		return &WantHold{Preempt: yes()}
	case 9:
		return &PeerFit{Node: from, Fit: yes()}
	case 10:
		return &Query{From: from, Nonce: nonce, About: ids[0]}
	case 11, 12:
		return &Answer{From: from, Nonce: nonce, Kind: AnswerKind(rng.IntN(4)), AdvertAge: age, Source: addr2, Candidate: yes(), LANHeard: age}
	case 13:
		return &ProbeResult{Round: nonce, Usable: yes(), VIP: yes(), Neighbour: yes()}
	case 14:
		return &Unheard{From: from, Nonce: nonce}
	case 15:
		return &Yield{From: from, Nonce: nonce}
	case 16:
		return &Insist{From: from, Nonce: nonce}
	case 17:
		return &LANTested{Round: nonce, Outcome: TestOutcome(rng.IntN(3))}
	}
	return &Tick{}
}
