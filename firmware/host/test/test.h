#pragma once

#include <cstdio>
#include <cstdlib>

/// A test framework that fits on a page: TEST defines one, CHECK and CHECK_EQUAL end the program with what they found.
struct TestCase {
  using Function = void (*)();

  TestCase(const char *test_name, Function test_function);

  const char *name;
  Function function;
  TestCase *next;

  static TestCase *first;
};

#define TEST(name) \
  static void name(); \
  static TestCase name##_case(#name, name); \
  static void name()

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition); \
      std::exit(1); \
    } \
  } while (false)

#define CHECK_EQUAL(found, expected) \
  do { \
    const auto found_value = static_cast<long long>(found); \
    const auto expected_value = static_cast<long long>(expected); \
    if (found_value != expected_value) { \
      std::fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #found, found_value, expected_value); \
      std::exit(1); \
    } \
  } while (false)
