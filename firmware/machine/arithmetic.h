#pragma once

#include <cstdint>

namespace esphome::mww_harness {

struct Divided {
  uint32_t quotient, remainder;
};

/// Divides with shifts and subtractions; a divisor of 0 gives 0 and the dividend.
inline Divided divide(uint32_t dividend, uint32_t divisor) {
  if (divisor == 0 || dividend < divisor) {
    return {0, dividend};
  }
  int shift = __builtin_clz(divisor) - __builtin_clz(dividend);
  uint32_t quotient = 0;
  for (divisor <<= shift; shift >= 0; shift--, divisor >>= 1) {
    quotient <<= 1;
    if (dividend >= divisor) {
      dividend -= divisor;
      quotient |= 1;
    }
  }
  return {quotient, dividend};
}

/// IEEE 754 arithmetic with integers, rounding to the nearest, ties to even: what a processor without a floating point
/// unit needs, bit for bit as a processor with that unit. `Bits` is uint32_t or uint64_t.
template<typename Bits> class SoftFloat {
 public:
  static constexpr int WIDTH = static_cast<int>(sizeof(Bits) * 8);
  static constexpr int FRACTION = WIDTH == 32 ? 23 : 52;
  static constexpr int SPECIAL = (1 << (WIDTH - 1 - FRACTION)) - 1;  // the exponent of infinity and NaN
  static constexpr int BIAS = SPECIAL / 2;
  static constexpr Bits SIGN = static_cast<Bits>(1) << (WIDTH - 1);
  static constexpr Bits HIDDEN = static_cast<Bits>(1) << FRACTION;
  static constexpr Bits INFINITE = static_cast<Bits>(SPECIAL) << FRACTION;
  static constexpr Bits QUIET = HIDDEN >> 1;

  static Bits add(Bits a, Bits b) {
    if (is_nan(a) || is_nan(b)) {
      return nan_(a, b);
    }
    if (magnitude_(a) < magnitude_(b)) {
      const Bits swapped = a;
      a = b;
      b = swapped;
    }
    const bool same = ((a ^ b) & SIGN) == 0;
    if (magnitude_(a) == INFINITE) {
      return magnitude_(b) == INFINITE && !same ? INFINITE | QUIET | SIGN : a;
    }
    if (magnitude_(b) == 0) {
      return magnitude_(a) == 0 ? a & b : a;
    }
    int exponent = 0, other = 0;
    Bits left = unpack_(a, &exponent), right = unpack_(b, &other);
    right = shift_right(right, exponent - other);
    Bits result = same ? left + right : left - right;
    if (result == 0) {
      return 0;
    }
    if ((result >> (FRACTION + 4)) != 0) {
      result = shift_right(result, 1);
      exponent++;
    }
    while ((result >> (FRACTION + 3)) == 0) {
      result <<= 1;
      exponent--;
    }
    return pack(a & SIGN, exponent, result);
  }

  static Bits subtract(Bits a, Bits b) { return add(a, is_nan(b) ? b : b ^ SIGN); }

  static Bits multiply(Bits a, Bits b) {
    if (is_nan(a) || is_nan(b)) {
      return nan_(a, b);
    }
    const Bits sign = (a ^ b) & SIGN;
    if (magnitude_(a) == INFINITE || magnitude_(b) == INFINITE) {
      return magnitude_(a) == 0 || magnitude_(b) == 0 ? INFINITE | QUIET | SIGN : sign | INFINITE;
    }
    if (magnitude_(a) == 0 || magnitude_(b) == 0) {
      return sign;
    }
    int exponent = 0, other = 0;
    const Bits left = unpack_(a, &exponent) >> 3, right = unpack_(b, &other) >> 3;
    Bits low = 0;
    Bits high = multiply_wide(left << (WIDTH - FRACTION - 1), right << 4, &low);
    high |= low != 0;
    exponent += other - BIAS;
    if ((high >> (FRACTION + 4)) != 0) {
      high = shift_right(high, 1);
      exponent++;
    }
    return pack(sign, exponent, high);
  }

  static Bits divide(Bits a, Bits b) {
    if (is_nan(a) || is_nan(b)) {
      return nan_(a, b);
    }
    const Bits sign = (a ^ b) & SIGN;
    if (magnitude_(a) == magnitude_(b) && (magnitude_(a) == 0 || magnitude_(a) == INFINITE)) {
      return INFINITE | QUIET | SIGN;
    }
    if (magnitude_(a) == INFINITE || magnitude_(b) == 0) {
      return sign | INFINITE;
    }
    if (magnitude_(a) == 0 || magnitude_(b) == INFINITE) {
      return sign;
    }
    int exponent = 0, other = 0;
    Bits left = unpack_(a, &exponent);
    const Bits right = unpack_(b, &other);
    exponent += BIAS - other;
    if (left < right) {
      left <<= 1;
      exponent--;
    }
    Bits quotient = 0;
    for (int bit = 0; bit < FRACTION + 4; bit++) {
      quotient <<= 1;
      if (left >= right) {
        left -= right;
        quotient |= 1;
      }
      left <<= 1;
    }
    return pack(sign, exponent, quotient | (left != 0));
  }

  /// An integer, with the sign given as a bit in its place.
  static Bits from_integer(Bits sign, uint32_t value) {
    if (value == 0) {
      return 0;
    }
    const int top = 31 - __builtin_clz(value);
    const int shift = FRACTION + 3 - top;
    const Bits wide = value;
    return pack(sign, BIAS + top, shift >= 0 ? wide << shift : shift_right(wide, -shift));
  }

  /// The magnitude without its fraction; the largest integer where it does not fit.
  static uint32_t to_integer(Bits bits) {
    const int exponent = exponent_(bits) - BIAS;
    if (exponent < 0) {
      return 0;
    }
    if (exponent > 31) {
      return UINT32_MAX;
    }
    const Bits significand = (bits & (HIDDEN - 1)) | HIDDEN;
    return static_cast<uint32_t>(exponent <= FRACTION ? significand >> (FRACTION - exponent)
                                                      : significand << (exponent - FRACTION));
  }

  static bool is_nan(Bits bits) { return magnitude_(bits) > INFINITE; }

  /// Rounds a significand with its leading one at FRACTION + 3, whose exponent may be any.
  static Bits pack(Bits sign, int exponent, Bits significand) {
    if (exponent >= SPECIAL) {
      return sign | INFINITE;
    }
    if (exponent <= 0) {
      significand = shift_right(significand, 1 - exponent);
      exponent = 1;
    }
    const unsigned below = static_cast<unsigned>(significand & 7);
    significand >>= 3;
    significand += below > 4 || (below == 4 && (significand & 1) != 0);
    // The hidden one raises the exponent, a subnormal has none, and a carry raises it once more.
    return sign | ((static_cast<Bits>(exponent - 1) << FRACTION) + significand);
  }

  /// Shifts; the lowest bit also stands for all that were lost.
  static Bits shift_right(Bits value, int count) {
    if (count == 0) {
      return value;
    }
    if (count >= WIDTH) {
      return value != 0;
    }
    return (value >> count) | ((value << (WIDTH - count)) != 0);
  }

  /// The product of two words: returns its upper word.
  static Bits multiply_wide(Bits a, Bits b, Bits *low) {
    constexpr int half = WIDTH / 2;
    constexpr Bits mask = (static_cast<Bits>(1) << half) - 1;
    const Bits a0 = a & mask, a1 = a >> half, b0 = b & mask, b1 = b >> half;
    const Bits p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
    const Bits middle = (p00 >> half) + (p01 & mask) + (p10 & mask);
    *low = (p00 & mask) | (middle << half);
    return p11 + (p01 >> half) + (p10 >> half) + (middle >> half);
  }

 protected:
  static Bits magnitude_(Bits bits) { return bits & ~SIGN; }
  static int exponent_(Bits bits) { return static_cast<int>((bits >> FRACTION) & SPECIAL); }
  static Bits nan_(Bits a, Bits b) { return (is_nan(a) ? a : b) | QUIET; }

  /// A number that is not zero: its significand with the leading one at FRACTION + 3, and its exponent.
  static Bits unpack_(Bits bits, int *exponent) {
    Bits significand = bits & (HIDDEN - 1);
    *exponent = exponent_(bits);
    if (*exponent != 0) {
      return (significand | HIDDEN) << 3;
    }
    *exponent = 1;
    while ((significand & HIDDEN) == 0) {
      significand <<= 1;
      (*exponent)--;
    }
    return significand << 3;
  }
};

/// To the wider format, exactly.
inline uint64_t widen(uint32_t bits) {
  using F = SoftFloat<uint32_t>;
  using D = SoftFloat<uint64_t>;
  const uint64_t sign = static_cast<uint64_t>(bits & F::SIGN) << 32;
  const uint32_t magnitude = bits & ~F::SIGN;
  if (magnitude >= F::INFINITE) {
    const uint64_t fraction = static_cast<uint64_t>(magnitude & (F::HIDDEN - 1)) << 29;
    return sign | D::INFINITE | fraction | (F::is_nan(bits) ? D::QUIET : 0);
  }
  if (magnitude == 0) {
    return sign;
  }
  if (magnitude < F::HIDDEN) {  // subnormal
    const int top = 31 - __builtin_clz(magnitude);
    const uint64_t fraction = (static_cast<uint64_t>(magnitude) << (D::FRACTION - top)) & (D::HIDDEN - 1);
    return sign | (static_cast<uint64_t>(D::BIAS - F::BIAS + 1 - F::FRACTION + top) << D::FRACTION) | fraction;
  }
  const uint64_t rebased = static_cast<uint64_t>(D::BIAS - F::BIAS) << D::FRACTION;
  return sign | ((static_cast<uint64_t>(magnitude) << 29) + rebased);
}

/// To the narrower format, rounded.
inline uint32_t narrow(uint64_t bits) {
  using F = SoftFloat<uint32_t>;
  using D = SoftFloat<uint64_t>;
  const uint32_t sign = static_cast<uint32_t>(bits >> 32) & F::SIGN;
  const uint64_t magnitude = bits & ~D::SIGN;
  if (magnitude >= D::INFINITE) {
    const uint32_t fraction = static_cast<uint32_t>(magnitude >> 29) & (F::HIDDEN - 1);
    return sign | F::INFINITE | (D::is_nan(bits) ? fraction | F::QUIET : 0);
  }
  const int exponent = static_cast<int>(magnitude >> D::FRACTION);
  if (exponent == 0) {
    return sign;  // far below the least float
  }
  const uint64_t significand = (magnitude & (D::HIDDEN - 1)) | D::HIDDEN;
  const int shift = D::FRACTION - F::FRACTION - 3;
  const uint32_t kept = static_cast<uint32_t>(SoftFloat<uint64_t>::shift_right(significand, shift));
  return F::pack(sign, exponent - D::BIAS + F::BIAS, kept);
}

}  // namespace esphome::mww_harness
