// Package advisory says which packages an advisory is about: OSV records against
// components of bills of materials.
//
// The direction is from what runs to what is known: Packages is an index of the
// components in question, and the database, which may be much larger, streams past
// it one record at a time. An advisory costs one look-up for each package that it
// names, however many bills of materials there are. Versions are ordered as their
// ecosystem orders them. What cannot be understood, an entry, an ecosystem or a
// version, is counted and said, never passed over.
//
// Nothing here knows a store, a clock or what runs where: package inventory does.
package advisory
