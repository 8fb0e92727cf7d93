package strict

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/go-json-experiment/json/jsontext"
)

// Suggest returns the known word that found most likely means, or "" if none is close.
func Suggest(found string, known []string) string {
	if len(found) > 100 {
		return "" // no misspelling of anything, and costly to compare
	}
	best, dist := "", max(2, len(found)/3)+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(found), strings.ToLower(k)); d < dist {
			best, dist = k, d
		}
	}
	return best
}

// OneOf says that found is not one of known, with a suggestion, in the words
// every enumeration error uses.
func OneOf(found string, known []string) string {
	msg := fmt.Sprintf("%s is not one of %s", quote(found), strings.Join(known, ", "))
	if s := Suggest(found, known); s != "" {
		msg += fmt.Sprintf(" (did you mean %q?)", s)
	}
	return msg
}

func didYouMean(found string, known []string) string {
	if s := Suggest(found, known); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	if len(known) > 0 {
		return "known keys: " + strings.Join(known, ", ")
	}
	return ""
}

// fieldsAt lists the keys that the value at p below t accepts.
func fieldsAt(t reflect.Type, p jsontext.Pointer) []string {
	for tok := range p.Tokens() {
		t = deref(t)
		if t == nil {
			return nil
		}
		switch t.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			f, ok := structFields(t)[tok]
			if !ok {
				return nil
			}
			t = f
		default:
			return nil
		}
	}
	if t = deref(t); t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	return fieldNames(t)
}

// fieldNames lists the JSON names of t's fields, those of embedded structs in their place.
func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if e := embedded(f); e != nil {
			names = append(names, fieldNames(e)...)
		} else if n := jsonName(f); n != "" {
			names = append(names, n)
		}
	}
	return names
}

// embedded returns the struct whose fields f promotes, nil if f is an ordinary field.
func embedded(f reflect.StructField) reflect.Type {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if t := deref(f.Type); f.Anonymous && name == "" && t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

func deref(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// structFields maps the JSON names of t's fields, embedded ones included, to their types.
func structFields(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for f := range t.Fields() {
		if e := embedded(f); e != nil {
			maps.Copy(m, structFields(e))
			continue
		}
		if n := jsonName(f); n != "" {
			m[n] = f.Type
		}
	}
	return m
}

func jsonName(f reflect.StructField) string {
	if !f.IsExported() {
		return ""
	}
	n, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch n {
	case "-":
		return ""
	case "":
		return f.Name
	}
	return n
}

func typeName(t reflect.Type) string {
	t = deref(t)
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "an RFC 3339 time"
	case isText(t), isBytes(t):
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return t.String()
}

// digits are what a whole number is written with.
var digits = regexp.MustCompile(`^-?[0-9]+$`)

// whole reports whether t holds whole numbers.
func whole(t reflect.Type) bool {
	t = deref(t)
	return t != nil && t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64
}

// beyond says that a whole number lies outside those that t holds.
func beyond(text string, t reflect.Type) string {
	low, high := "0", uint64(math.MaxUint64)>>(64-deref(t).Bits())
	if deref(t).Kind() <= reflect.Int64 {
		high >>= 1
		low = "-" + strconv.FormatUint(high+1, 10)
	}
	return fmt.Sprintf("%s is not a whole number from %s to %d", clip(text), low, high)
}
