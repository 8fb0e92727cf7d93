#include "textflag.h"

// FOUR is a constant four times, for the four numbers of a vector.
#define FOUR(name, v) \
	DATA name<>+0(SB)/8, $v; \
	DATA name<>+8(SB)/8, $v; \
	DATA name<>+16(SB)/8, $v; \
	DATA name<>+24(SB)/8, $v; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

FOUR(mantissa, 0x000FFFFFFFFFFFFF)
FOUR(whole, 0x4330000000000000)    // 2^52: a whole number in its last bits is added to it
FOUR(bias, 4503599627371518.0)     // 2^52 and what exponents are stored with
FOUR(half, 0.5)
FOUR(one, 1.0)
FOUR(two, 2.0)
FOUR(halfRoot, 7.07106781186547524401e-01)
FOUR(ln2High, 6.93147180369123816490e-01)
FOUR(ln2Low, 1.90821492927058770002e-10)
FOUR(l1, 6.666666666666735130e-01)
FOUR(l2, 3.999999999940941908e-01)
FOUR(l3, 2.857142874366239149e-01)
FOUR(l4, 2.222219843214978396e-01)
FOUR(l5, 1.818357216161805012e-01)
FOUR(l6, 1.531383769920937332e-01)
FOUR(l7, 1.479819860511658591e-01)

FOUR(log2E, 1.4426950408889634073599246810018920)
FOUR(expHigh, 0.69314718055966295651160180568695068359375)
FOUR(expLow, 0.28235290563031577122588448175013436025525412068e-12)
FOUR(sixteenth, 0.0625)
FOUR(exponent, 0x3FF)
FOUR(e3, 1.6666666666666666667e-1)
FOUR(e4, 4.1666666666666666667e-2)
FOUR(e5, 8.3333333333333333333e-3)
FOUR(e6, 1.3888888888888888889e-3)
FOUR(e7, 1.9841269841269841270e-4)
FOUR(e8, 2.4801587301587301587e-5)

// func logsVectors(v *[lanes]float64, over float64)
//
// The steps of math.Log, four numbers at a time: x is 2^k·(1+f) with 1+f between the roots of
// 1/2 and of 2, and s = f/(2+f).
TEXT ·logsVectors(SB), NOSPLIT, $0-16
	MOVQ         v+0(FP), DI
	VBROADCASTSD over+8(FP), Y15
	VMOVUPD      one<>(SB), Y14
	MOVQ         $9, CX                    // lanes, four at a time

next:
	VMOVUPD (DI), Y0
	VDIVPD  Y15, Y0, Y0            // x
	VPSRLQ  $52, Y0, Y1
	VPOR    whole<>(SB), Y1, Y1
	VSUBPD  bias<>(SB), Y1, Y1     // k
	VANDPD  mantissa<>(SB), Y0, Y0
	VORPD   half<>(SB), Y0, Y0     // 1+f, from 1/2 to 1
	VMOVUPD halfRoot<>(SB), Y2
	VCMPPD  $5, Y0, Y2, Y2         // where it is not above the root
	VANDPD  Y14, Y2, Y2
	VSUBPD  Y2, Y1, Y1             // k is one less
	VADDPD  Y14, Y2, Y2
	VMULPD  Y2, Y0, Y0             // and 1+f is doubled
	VSUBPD  Y14, Y0, Y0            // f
	VADDPD  two<>(SB), Y0, Y2
	VDIVPD  Y2, Y0, Y2             // s
	VMULPD  Y2, Y2, Y3             // s²
	VMULPD  Y3, Y3, Y4             // s⁴

	VMULPD l7<>(SB), Y4, Y5
	VADDPD l5<>(SB), Y5, Y5
	VMULPD Y4, Y5, Y5
	VADDPD l3<>(SB), Y5, Y5
	VMULPD Y4, Y5, Y5
	VADDPD l1<>(SB), Y5, Y5
	VMULPD Y5, Y3, Y3             // the odd terms
	VMULPD l6<>(SB), Y4, Y5
	VADDPD l4<>(SB), Y5, Y5
	VMULPD Y4, Y5, Y5
	VADDPD l2<>(SB), Y5, Y5
	VMULPD Y5, Y4, Y4             // the even ones
	VADDPD Y4, Y3, Y3

	VMULPD  half<>(SB), Y0, Y5
	VMULPD  Y0, Y5, Y5             // f²/2
	VADDPD  Y5, Y3, Y3
	VMULPD  Y3, Y2, Y2
	VMULPD  ln2Low<>(SB), Y1, Y3
	VADDPD  Y3, Y2, Y2
	VSUBPD  Y2, Y5, Y5
	VSUBPD  Y0, Y5, Y5
	VMULPD  ln2High<>(SB), Y1, Y1
	VSUBPD  Y5, Y1, Y1
	VMOVUPD Y1, (DI)
	ADDQ    $32, DI
	DECQ    CX
	JNZ     next
	VZEROUPPER
	RET

// func expsVectors(v *[lanes]float64, fours int, top, least float64)
//
// The steps of math.Exp, four numbers at a time: x is n·ln 2 + 16·y, the series of e^y - 1 is
// taken to the eighth power of y, and squared four times.
TEXT ·expsVectors(SB), NOSPLIT, $0-32
	MOVQ         v+0(FP), DI
	MOVQ         fours+8(FP), CX
	VBROADCASTSD top+16(FP), Y15
	VBROADCASTSD least+24(FP), Y14
	VMOVUPD      two<>(SB), Y13
	VMOVUPD      one<>(SB), Y12

next:
	VMOVUPD      (DI), Y0
	VSUBPD       Y15, Y0, Y0          // x
	VCMPPD       $0x1E, Y14, Y0, Y4   // where it is above the least
	VMULPD       log2E<>(SB), Y0, Y1
	VCVTPD2DQY   Y1, X3               // n
	VCVTDQ2PD    X3, Y1
	VFNMADD231PD expHigh<>(SB), Y1, Y0
	VFNMADD231PD expLow<>(SB), Y1, Y0
	VMULPD       sixteenth<>(SB), Y0, Y0 // y
	VMOVUPD      e8<>(SB), Y1
	VFMADD213PD  e7<>(SB), Y0, Y1
	VFMADD213PD  e6<>(SB), Y0, Y1
	VFMADD213PD  e5<>(SB), Y0, Y1
	VFMADD213PD  e4<>(SB), Y0, Y1
	VFMADD213PD  e3<>(SB), Y0, Y1
	VFMADD213PD  half<>(SB), Y0, Y1
	VFMADD213PD  Y12, Y0, Y1
	VMULPD       Y1, Y0, Y0           // e^y - 1
	VADDPD       Y13, Y0, Y1
	VMULPD       Y1, Y0, Y0           // e^2y - 1
	VADDPD       Y13, Y0, Y1
	VMULPD       Y1, Y0, Y0           // e^4y - 1
	VADDPD       Y13, Y0, Y1
	VMULPD       Y1, Y0, Y0           // e^8y - 1
	VADDPD       Y13, Y0, Y1
	VFMADD213PD  Y12, Y1, Y0          // e^16y
	VPMOVSXDQ    X3, Y3
	VPADDQ       exponent<>(SB), Y3, Y3
	VPSLLQ       $52, Y3, Y3          // 2^n
	VMULPD       Y3, Y0, Y0
	VANDPD       Y4, Y0, Y0
	VMOVUPD      Y0, (DI)
	ADDQ         $32, DI
	DECQ         CX
	JNZ          next
	VZEROUPPER
	RET
