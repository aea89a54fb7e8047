#include "test.h"

TestCase *TestCase::first = nullptr;

TestCase::TestCase(const char *test_name, Function test_function)
    : name(test_name), function(test_function), next(first) {
  first = this;
}

int main() {
  int count = 0;
  for (const TestCase *test = TestCase::first; test != nullptr; test = test->next) {
    std::printf("%s\n", test->name);
    std::fflush(stdout);
    test->function();
    count++;
  }
  std::printf("%d tests passed\n", count);
  return 0;
}
