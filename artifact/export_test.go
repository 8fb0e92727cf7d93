package artifact

// RecordBytes is what an index's records of artifacts take, in bytes.
func (x *Index) RecordBytes() (n int) {
	for _, p := range x.now.Load().artifacts {
		n += cap(p.records)
	}
	return n
}
