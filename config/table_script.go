package config

import (
	"math"
	"time"
)

// scriptKeywords is vrrp_script.
func scriptKeywords() []Keyword {
	return []Keyword{
		{Section: "vrrp_script", Name: "script", Tier: A, bare: "quiet", Args: "SCRIPT", set: scriptCommand},
		{Section: "vrrp_script", Name: "interval", Tier: A, Args: "SECS (ms resolution)", set: scriptInterval(sf(func(s *Script) *time.Duration { return &s.Interval }))},
		{Section: "vrrp_script", Name: "timeout", Tier: A, Args: "SECS (ms resolution)", set: scriptInterval(sf(func(s *Script) *time.Duration { return &s.Timeout }))},
		{Section: "vrrp_script", Name: "weight", Tier: A, Args: "-253..253 [reverse]", set: weight(253, sf(func(s *Script) *int { return &s.Weight }), sf(func(s *Script) *bool { return &s.Reverse }))},
		{Section: "vrrp_script", Name: "rise", Tier: A, Args: "N>=1", set: num(1, math.MaxInt32, sf(func(s *Script) *int { return &s.Rise }))},
		{Section: "vrrp_script", Name: "fall", Tier: A, Args: "N>=1", set: num(1, math.MaxInt32, sf(func(s *Script) *int { return &s.Fall }))},
		{Section: "vrrp_script", Name: "user", Tier: A, Args: "USER [GROUP]", set: scriptRunUser},
		{Section: "vrrp_script", Name: "init_fail", Tier: B, set: setTrue(sf(func(s *Script) *bool { return &s.InitFail }))},
	}
}
