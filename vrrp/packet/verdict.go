package packet

// Verdict is the outcome of Check.
type Verdict uint8

// The verdicts, in the order of the checks.
const (
	Accepted         Verdict = iota
	AHMismatch               // an Authentication Header where none is expected, or none where one is
	LengthWrong              // not the length that the header promises
	TTLWrong                 // multicast and TTL or hop limit is not 255: not from this link
	VersionWrong             // not the configured version
	HMACMissing              // auth_hmac: no trailer, and mode enforce
	HMACMalformed            // auth_hmac: a trailer of another scheme
	HMACUnknownKey           // auth_hmac: signed with a key that is not configured
	HMACWrong                // auth_hmac: the value does not fit
	HMACStale                // auth_hmac: outside the time window
	HMACReplayed             // auth_hmac: not above the sender's last number
	AuthTypeUnknown          // VRRPv2: none of 0, 1, 2
	AuthTypeMismatch         // VRRPv2: not the configured type
	PasswordWrong            // VRRPv2: another password
	AHForeign                // VRRPv2: an Authentication Header before something else
	AHWrong                  // VRRPv2: the integrity check value or the SPI does not fit
	AHReplayed               // VRRPv2: the sequence number is not above the last
	IntervalWrong            // VRRPv2: another advertisement interval; VRRPv3: none
	TypeWrong                // not an ADVERTISEMENT
	TotalLengthWrong         // the IPv4 header's length is not that of the packet
	ChecksumWrong
	CastMismatch // multicast for a unicast instance, or the other way round
	Ignored      // owner_ignore_adverts
	SourceUnknown
	TTLOutsideWindow
)

// verdicts gives each verdict its words and keepalived's counter.
var verdicts = [...]struct{ words, counter string }{
	Accepted:         {"accepted", "advert_rcvd"},
	AHMismatch:       {"presence of an AH header differs", "authtype_mismatch"},
	LengthWrong:      {"wrong length", "packet_len_err"},
	TTLWrong:         {"TTL or hop limit is not 255", "ip_ttl_err"},
	VersionWrong:     {"wrong VRRP version", "vers_err"},
	HMACMissing:      {"no authentication trailer", "auth_ext_missing"},
	HMACMalformed:    {"malformed authentication trailer", "auth_ext_malformed"},
	HMACUnknownKey:   {"authentication trailer of an unknown key", "auth_ext_unknown_key"},
	HMACWrong:        {"wrong authentication value", "auth_ext_invalid_hmac"},
	HMACStale:        {"authentication trailer outside the time window: compare the clocks", "auth_ext_stale"},
	HMACReplayed:     {"replayed authentication trailer", "auth_ext_replay"},
	AuthTypeUnknown:  {"unknown authentication type", "invalid_authtype"},
	AuthTypeMismatch: {"another authentication type", "authtype_mismatch"},
	PasswordWrong:    {"wrong password", "auth_failure"},
	AHForeign:        {"AH header of another protocol", ""},
	AHWrong:          {"wrong AH check value: another password, or changed on the way", "auth_failure"},
	AHReplayed:       {"AH sequence number already processed", "auth_failure"},
	IntervalWrong:    {"another advertisement interval", ""},
	TypeWrong:        {"not an advertisement", "invalid_type_rcvd"},
	TotalLengthWrong: {"IPv4 length differs from the packet's", "packet_len_err"},
	ChecksumWrong:    {"wrong checksum", "chk_err"},
	CastMismatch:     {"multicast and unicast disagree", "addr_list_err"},
	Ignored:          {"ignored by the address owner", ""},
	SourceUnknown:    {"not from a unicast peer", ""},
	TTLOutsideWindow: {"TTL outside the peer's window", "ip_ttl_err"},
}

// String says the verdict in words.
func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v].words
	}
	return "unknown verdict"
}

// Counter is the name of the counter in keepalived's statistics that the
// verdict adds to, or empty. SourceUnknown and TTLOutsideWindow come after the
// advert has been counted in advert_rcvd, see Received.
func (v Verdict) Counter() string {
	if int(v) < len(verdicts) {
		return verdicts[v].counter
	}
	return ""
}

// Counted says whether the advert adds to advert_rcvd, accepted or not.
func (v Verdict) Counted() bool {
	return v == Accepted || v == SourceUnknown || v == TTLOutsideWindow
}

// Warning is a set of things to report about an advert that is accepted.
type Warning uint8

// The warnings.
const (
	// AddressesDiffer: not the configured list. It adds to addr_list_err;
	// keepalived up to 2.3.2 refused such adverts.
	AddressesDiffer Warning = 1 << iota
	// IntervalDiffers: a VRRPv3 advert with another interval than ours.
	IntervalDiffers
	// OldChecksum: right only by the old unicast checksum.
	OldChecksum
	// PlainChecksum: a VRRPv3 checksum over IPv4 without a pseudo header, as RFC
	// 9568 has it. keepalived refuses such adverts.
	PlainChecksum
	// ClockSkew: the sender's clock is off by more than half of auth_hmac's time
	// window.
	ClockSkew
)

// Has says whether all of w are in the set.
func (s Warning) Has(w Warning) bool { return s&w == w }
