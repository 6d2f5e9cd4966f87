package veto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// The rows of the table "availability, exactly", one test each, in its order.

func TestVetoedWhileTheHolderHoldsAndItsAddressAnswers(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.backs(lb2, 300*time.Millisecond)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true, Neighbour: true}
	r.run(start.Add(20 * sec))
	r.wantBackup()
	d := r.wantVerdict(Vetoed)
	if d.Holder != lb1 || d.Evidence != VIPAnswers || d.Direction != DeafToHolder || d.Since != timeM {
		t.Errorf("detail %+v", d)
	}
	if n := len(all[*VerdictChanged](r)); n != 1 {
		t.Errorf("verdict changed %d times, want once", n)
	}
	r.wantAlarm("one-way VRRP loss lb1 -> lb3: lb3 does not hear lb1's adverts (deaf to lb1), others do")
	// Asked and probed again each interval until an advert is heard on the LAN.
	if r.probes < 16 || r.probes > 22 {
		t.Errorf("%d probes in 20 s, want one per interval", r.probes)
	}
	r.advert(vrrp.LAN, lb1, 150)
	r.wantVerdict(Unneeded)
}

func TestVetoedNamesTheMuteHolder(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.backs(lb2, 30*sec)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(start.Add(6 * sec))
	r.wantVerdict(Vetoed)
	r.wantAlarm("lb1 is mute: no member hears its adverts on the LAN, but it holds")
}

func TestVetoedWithoutAThirdMemberNamesBothEnds(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(start.Add(6 * sec))
	r.wantVerdict(Vetoed)
	r.wantAlarm("one-way VRRP loss lb1 -> lb3: lb1 is mute or lb3 is deaf to it, no third member can tell")
}

func TestVetoedWhileAnswersComeAndAdvertsDoNot(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(start.Add(20 * sec))
	r.wantBackup()
	r.wantVerdict(Vetoed)
	refused := all[*Refuse](r)
	if len(refused) == 0 || refused[0].Verdict != Vetoed || refused[0].Retry != interv {
		t.Errorf("refusals %v", refused)
	}
}

func TestMuteHolderThatYieldsIsReplacedAfterTheSkew(t *testing.T) {
	r := newRig(t)
	muteHolder(r)
	r.run(timeM.Add(time.Millisecond))
	r.wantVerdict(Mute)
	told := all[*SendUnheard](r)
	if len(told) != 1 || told[0].To != lb1 {
		t.Fatalf("told %v", told)
	}
	yielded := r.now
	r.step(&Yield{From: lb1, Nonce: told[0].Nonce})
	r.meshFrom = nil
	r.answers[lb1] = Answer{Kind: UnfitKind, Source: addr1}
	r.run(start.Add(10 * sec))
	r.wantTaken(yielded.Add(skew100))
}

func TestMuteHolderThatInsistsStays(t *testing.T) {
	r := newRig(t)
	muteHolder(r)
	r.run(timeM)
	for n := range 10 {
		told := all[*SendUnheard](r)
		if len(told) == 0 {
			t.Fatal("not told")
		}
		r.step(&Insist{From: lb1, Nonce: told[len(told)-1].Nonce})
		r.run(timeM.Add(time.Duration(n+1) * interv))
	}
	r.wantBackup()
	if d := r.wantVerdict(Mute); !d.Insists {
		t.Errorf("detail %+v", d)
	}
	r.wantAlarm("lb1 insists: lb3 finds its address silent on the LAN, lb1's own LAN test passes")
}

func TestMuteHolderThatDoesNotReplyWithinAIsReplaced(t *testing.T) {
	r := newRig(t)
	muteHolder(r)
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM.Add(interv))
	// Repeated within the interval: one lost datagram decides nothing.
	if n := len(all[*SendUnheard](r)); n != repeats+1 {
		t.Errorf("told %d times, want %d", n, repeats+1)
	}
	if _, d := r.m.Verdict(); d.Last != NoReply {
		t.Errorf("taken over for %q", d.Last)
	}
}

// It spoke while its address was silent, then not at all: no reply is no reply.
func TestMuteHolderThatDiesAfterItWasToldIsReplacedWithinA(t *testing.T) {
	r := newRig(t)
	muteHolder(r)
	r.run(timeM)
	delete(r.answers, lb1)
	r.meshFrom = nil
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM.Add(interv))
}

// A holder that has not spoken since the look at the LAN began may be paused,
// with its kernel: its silent address says nothing.
func TestMuteIsNotSaidOfAHolderThatIsSilentOnTheMeshToo(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(timeM.Add(interv * 5 / 2))
	r.wantVerdict(Vetoed)
	last := start.Add(6 * interv)
	r.meshFrom = nil
	delete(r.answers, lb1)
	r.probe.VIP, r.probe.Neighbour = false, true
	r.run(last.Add(down100 - 1))
	r.wantVerdict(Vetoed)
	r.run(start.Add(20 * sec))
	r.wantTaken(last.Add(down100))
}

func TestMuteEndsWhenTheAddressAnswersAgain(t *testing.T) {
	r := newRig(t)
	muteHolder(r)
	r.run(timeM)
	told := all[*SendUnheard](r)
	r.step(&Insist{From: lb1, Nonce: told[0].Nonce})
	r.probe.VIP = true
	r.run(timeM.Add(5 * sec))
	r.wantBackup()
	r.wantVerdict(Vetoed)
}

func muteHolder(r *rig) {
	r.holds(lb1)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, Neighbour: true}
}

func TestDeafUntilTheFirstFrame(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.backs(lb2, 200*time.Millisecond)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true}
	r.run(start.Add(20 * sec))
	r.wantBackup()
	r.wantVerdict(Deaf)
	r.wantAlarm("lb3 is deaf: nothing answers on its LAN, while lb1 holds")
	if r.probes < 16 {
		t.Errorf("%d probes in 20 s, want one per interval", r.probes)
	}
	r.answersAsDeaf(false)
	before := r.probes
	r.step(&FrameHeard{})
	r.wantVerdict(Vetoed)
	if r.probes != before+1 {
		t.Errorf("the LAN is not looked at again at once")
	}
	r.answersAsDeaf(true)
}

// answersAsDeaf asks the node whether it is a candidate: a deaf one is not.
func (r *rig) answersAsDeaf(candidate bool) {
	r.t.Helper()
	for _, a := range r.step(&Query{From: lb2, Nonce: 1, About: lb1}) {
		if s, ok := a.(*SendAnswer); ok && s.Candidate != candidate {
			r.t.Errorf("candidate %v, want %v", s.Candidate, candidate)
		}
	}
}

func TestDeafIsNotSaidWhileFramesComeIn(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true}
	for r.now < start.Add(8*sec) {
		r.run(r.now.Add(interv / 10))
		r.step(&FrameHeard{})
	}
	r.wantBackup()
	if d := r.wantVerdict(Vetoed); d.Evidence != NoEvidence {
		t.Errorf("detail %+v", d)
	}
	if n := len(all[*VerdictChanged](r)); n != 1 {
		t.Errorf("verdict changed %d times, want once", n)
	}
}

func TestWedgedHolderIsReplacedAtM(t *testing.T) {
	r := newRig(t)
	r.answers[lb1] = Answer{Kind: Holding, AdvertAge: 2*interv + 1, Priority: 150, Source: addr1, LANHeard: Never}
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
	if _, d := r.m.Verdict(); d.Last != Wedged {
		t.Errorf("taken over for %q", d.Last)
	}
	if r.probes != 0 {
		t.Error("the LAN was probed without a holder's word")
	}
}

// Its adverts reach the mesh, and its kernel does not take the LAN's copies.
func TestWedgedHolderWhoseMeshAdvertsArriveIsReplacedAtM(t *testing.T) {
	r := newRig(t)
	r.answers[lb1] = Answer{Kind: Holding, AdvertAge: 2*interv + 1, Priority: 150, Source: addr1, LANHeard: Never}
	r.meshFrom = []NodeID{lb1}
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
}

func TestAdvertOfExactlyTwoIntervalsIsNotWedged(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	a := r.answers[lb1]
	a.AdvertAge = 2 * interv
	r.answers[lb1] = a
	r.run(timeM)
	r.wantBackup()
	r.wantVerdict(Vetoed)
}

func TestUnfitHolderIsReplacedAtM(t *testing.T) {
	r := newRig(t)
	r.answers[lb1] = Answer{Kind: UnfitKind, Priority: 150, Source: addr1, LANHeard: Never}
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
}

func TestLapsedHolderIsReplacedAtM(t *testing.T) {
	r := newRig(t)
	r.answers[lb1] = Answer{Kind: NotHolding, Priority: 150, Source: addr1}
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
	if _, d := r.m.Verdict(); d.Last != Lapsed {
		t.Errorf("taken over for %q", d.Last)
	}
}

func TestLapsedCandidateOfHigherRankGetsOneInterval(t *testing.T) {
	for _, c := range []struct {
		name     string
		priority uint8
		source   string
		late     time.Duration
	}{
		{"higher priority", 150, "10.0.0.1", interv},
		{"same priority, higher address", 100, "10.0.0.9", interv},
		{"same priority, lower address", 100, "10.0.0.1", 0},
		{"lower priority", 90, "10.0.0.9", 0},
	} {
		r := newRig(t)
		r.answers[lb1] = Answer{Kind: NotHolding, Candidate: true, Priority: c.priority, Source: netip.MustParseAddr(c.source)}
		r.run(start.Add(10 * sec))
		if r.taken != timeM.Add(c.late) {
			t.Errorf("%s: taken over %v after M, want %v", c.name, r.taken.Sub(timeM), c.late)
		}
	}
}

func TestUnknownInstanceIsTakenOverWithAWarning(t *testing.T) {
	r := newRig(t)
	r.answers[lb1] = Answer{Kind: UnknownKind}
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
	r.wantAlarm("configurations differ: lb1 does not know this instance, or has other addresses for its virtual_router_id; compare the files")
}

func TestNoAnswerTakesOverAtM(t *testing.T) {
	r := newRig(t)
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
	if r.probes != 0 {
		t.Error("the LAN was probed: plain VRRP sends no such thing")
	}
	asks := all[*Ask](r)
	if len(asks) < 2 || asks[0].About != lb1 || len(asks[0].To) != 2 {
		t.Fatalf("asks %+v", asks)
	}
	if at := firstAt[*Ask](r); at != start.Add(2*interv+skew100) {
		t.Errorf("asked %v after the last LAN advert, want 2A+S", at.Sub(start))
	}
}

func firstAt[T Action](r *rig) vrrp.Instant {
	for _, l := range r.log {
		if _, ok := l.a.(T); ok {
			return l.at
		}
	}
	return 0
}

// The copy on the mesh comes after the one on the LAN and restarts the Router's
// timer; the fail-over is still counted from the LAN.
func TestNoAnswerTakesOverAtMOfTheLANWhenTheCopyWasLate(t *testing.T) {
	r := newRig(t)
	r.now = start.Add(20 * time.Millisecond)
	r.advert(vrrp.Mesh, lb1, 150)
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
	if len(all[*Takeover](r)) != 1 {
		t.Error("no Takeover although the Router's timer was held back")
	}
}

func TestNoAnswerFromTheHolderIsNotMadeUpByOtherBackups(t *testing.T) {
	r := newRig(t)
	r.backs(lb2, down100)
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
}

func TestAnswersWithAnotherNonceDoNotCount(t *testing.T) {
	r := newRig(t)
	r.run(start.Add(2*interv + skew100))
	nonce := all[*Ask](r)[0].Nonce
	for _, n := range []uint64{nonce - 1, nonce + 1, 0} {
		r.step(&Answer{From: lb1, Nonce: n, Kind: Holding, Source: addr1})
	}
	r.step(&Answer{From: NodeID{9}, Nonce: nonce, Kind: Holding, Source: addr1})
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
}

func TestTwoHoldersKeepABackup(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.holds(lb2)
	r.meshFrom = []NodeID{lb1}
	r.run(start.Add(20 * sec))
	r.wantBackup()
	r.wantVerdict(TwoHolders)
	r.wantAlarm("two holders: lb1 and lb2")
}

func TestNoLANEvidenceHolderWordCounts(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  ProbeMode
		probe *ProbeResult
	}{
		{"off", ProbeOff, nil},
		{"peers in other subnets", ProbeAuto, &ProbeResult{Usable: false}},
		{"the network answers for nobody", ProbeAuto, &ProbeResult{Usable: true, Neighbour: true, Nobody: true}},
		{"the network answers for everything", ProbeAuto, &ProbeResult{Usable: true, VIP: true, Neighbour: true, Nobody: true}},
		{"no result", ProbeOn, nil},
	} {
		r := newRig(t, func(cfg *Config) { cfg.Probe = c.mode })
		r.holds(lb1)
		r.meshFrom = []NodeID{lb1}
		r.probe = c.probe
		r.run(start.Add(20 * sec))
		if v, d := r.m.Verdict(); r.taken != 0 || v != Vetoed || d.Evidence != NoEvidence {
			t.Errorf("%s: taken %v, verdict %q, %+v", c.name, r.taken, v, d)
		}
		if c.mode == ProbeOff && r.probes != 0 {
			t.Errorf("%s: probed", c.name)
		}
	}
}

func TestProbeOnBelievesANetworkThatAnswersForNobody(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Probe = ProbeOn })
	muteHolder(r)
	r.probe.Nobody = true
	r.run(timeM)
	r.wantVerdict(Mute)
}

// Two adverts that the LAN lost came over the mesh before the holder died: the
// fail-over is still counted from the LAN, as plain VRRP would.
func TestNoAnswerTakesOverAtMOfTheLANAfterLaterMeshAdverts(t *testing.T) {
	r := newRig(t)
	r.meshFrom = []NodeID{lb1}
	r.run(start.Add(2*interv + interv/4))
	r.meshFrom = nil
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
}

// Where the machine is stepped before the Router after all.
func TestNoAnswerLeavesAnUndelayedRouterToItsOwnTimer(t *testing.T) {
	r := newRig(t)
	r.run(timeM - 1)
	r.now = timeM
	for _, a := range r.step(&Tick{}) {
		t.Errorf("%T although nothing holds the Router's timer back", a)
	}
	wantOnly[*Permit](t, r.step(&WantHold{}))
}

func TestALateAnswerDoesNotReplaceANewerOne(t *testing.T) {
	r := newRig(t)
	r.meshFrom = []NodeID{lb1}
	r.run(timeM.Add(interv / 10))
	asks := all[*Ask](r)
	old, now := asks[0].Nonce, asks[len(asks)-1].Nonce
	if old == now {
		t.Fatal("no second round")
	}
	r.meshFrom = nil
	r.step(&Answer{From: lb1, Nonce: now, Kind: Holding, Source: addr1, LANHeard: Never})
	r.step(&Answer{From: lb1, Nonce: old, Kind: UnfitKind, Source: addr1, LANHeard: Never})
	r.run(timeM.Add(interv))
	r.wantBackup()
	r.wantVerdict(Vetoed)
}

func TestTheQuestionIsRepeatedToTheSilentAlone(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.run(timeM - 1)
	asks := all[*Ask](r)
	if len(asks) != repeats+1 {
		t.Errorf("asked %d times in the first round, want %d", len(asks), repeats+1)
	}
	for i, a := range asks {
		if a.Nonce != asks[0].Nonce {
			t.Errorf("question %d has another nonce", i)
		}
		if i > 0 && (len(a.To) != 1 || a.To[0] != lb2) {
			t.Errorf("question %d goes to %v, want lb2 alone", i, a.To)
		}
	}
}
