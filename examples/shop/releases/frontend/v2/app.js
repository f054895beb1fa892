console.log('shop frontend v2');
